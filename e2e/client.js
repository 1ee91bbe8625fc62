// What the tests with clients share: a server for a file of tests, its demo accounts, and plain requests.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { startServer } from './server.js';

/** Starts the server of a file of tests, which is stopped after them. */
export async function useServer(environment) {
  const server = await startServer(environment);
  after(() => server.stop(), { timeout: 120_000 });
  return server;
}

/** Sends a request as a client without any library does, and returns the data. */
export async function ask(server, query, variables, token) {
  const response = await fetch(`${server.url}/graphql`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...authorization(token) },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  assert.equal(errors, undefined, JSON.stringify(errors));
  return data;
}

export const authorization = (token) => (token ? { Authorization: `Bearer ${token}` } : {});

/** The access token of a demo account, which the Playground's page knows by its label. */
export async function signIn(server, label) {
  const page = await (await fetch(server.url)).text();
  const [, config] = /id="playground-config"[^>]*>(.*?)<\/script>/s.exec(page);
  const { email, password } = JSON.parse(config).accounts.find((account) => account.label === label);
  const query = `mutation ($email: EmailAddress!, $password: String!) {
    signIn(input: {email: $email, password: $password}) { tokens { accessToken } }
  }`;
  return (await ask(server, query, { email, password })).signIn.tokens.accessToken;
}

/** A subscription to a variant that is on sale, for those who may see its inventory. */
export async function stockSubscription(server) {
  const { products } = await ask(server, '{ products(first: 1) { nodes { variants { id } } } }');
  return {
    query: 'subscription ($id: ID!) { stockChanged(variantIds: [$id]) { variant { inventory { onHand } } } }',
    variables: { id: products.nodes[0].variants[0].id },
  };
}

/** Expects of a client that it is told of the stock, and of a change that is made by a plain request. */
export async function expectStock(server, token, client, subscription) {
  const variantId = subscription.variables.id;
  const { variant } = await ask(server, 'query ($id: ID!) { variant(id: $id) { inventory { onHand } } }', { id: variantId }, token);
  const told = (more) => ({ data: { stockChanged: { variant: { inventory: { onHand: variant.inventory.onHand + more } } } } });
  const events = client.iterate(subscription);
  assert.deepEqual((await events.next()).value, told(0));

  const mutation = `mutation ($input: StockAdjustInput!, $key: String!) {
    stockAdjust(input: $input, idempotencyKey: $key) { userErrors { message } }
  }`;
  const { stockAdjust } = await ask(server, mutation, { input: { variantId, delta: 3, reason: 'RECEIVED' }, key: randomUUID() }, token);
  assert.deepEqual(stockAdjust.userErrors, []);
  let event;
  do {
    event = (await events.next()).value;
  } while (isDeepStrictEqual(event, told(0))); // the same may be told twice
  assert.deepEqual(event, told(3));
  await events.return();
}

/** A fetch for a client under test, and what was asked by it. */
export function recordingFetch() {
  const requests = [];
  return {
    requests,
    fetch: async (url, options) => {
      const response = await fetch(url, options);
      const { method = 'GET', body } = options;
      requests.push({ method, status: response.status, operationName: body && JSON.parse(body).operationName });
      return response;
    },
  };
}

/** A name for an operation, which makes it a document that the server has never seen. */
export const newName = () => `Q${randomUUID().replaceAll('-', '')}`;
