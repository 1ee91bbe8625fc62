// What the tests with clients share: a server for a file of tests, its demo accounts, and plain requests.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { startServer } from './server.js';

/** The server of a file of tests; has its url once they run, and is stopped after them. */
export function useServer(environment) {
  const server = {};
  before(async () => Object.assign(server, await startServer(environment)), { timeout: 900_000 });
  after(() => server.stop?.(), { timeout: 120_000 });
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
