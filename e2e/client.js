// What the tests with clients share: a server for a file of tests, its demo accounts, and plain requests.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after } from 'node:test';
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
  const { tokens } = (
    await ask(
      server,
      'mutation ($email: EmailAddress!, $password: String!) { signIn(input: {email: $email, password: $password}) { tokens { accessToken } } }',
      { email, password },
    )
  ).signIn;
  return tokens.accessToken;
}

/** A variant that is on sale. */
export async function someVariant(server) {
  const { products } = await ask(server, '{ products(first: 1) { nodes { variants { id } } } }');
  return products.nodes[0].variants[0].id;
}

/** How much of a variant is on hand, to a manager. */
export async function onHand(server, token, variantId) {
  const query = 'query ($id: ID!) { variant(id: $id) { inventory { onHand } } }';
  return (await ask(server, query, { id: variantId }, token)).variant.inventory.onHand;
}

/** Lays some more of a variant on the shelf, as a manager. */
export async function receive(server, token, variantId, delta) {
  const { stockAdjust } = await ask(
    server,
    `mutation ($input: StockAdjustInput!, $key: String!) {
      stockAdjust(input: $input, idempotencyKey: $key) { userErrors { message } }
    }`,
    { input: { variantId, delta, reason: 'RECEIVED' }, key: randomUUID() },
    token,
  );
  assert.deepEqual(stockAdjust.userErrors, []);
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
