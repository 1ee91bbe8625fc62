// urql: its document cache, persisted queries and errors.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, cacheExchange, fetchExchange } from '@urql/core';
import { persistedExchange } from '@urql/exchange-persisted';
import { authorization, newName, recordingFetch, signIn, useServer } from './client.js';

const timeout = 20_000;
const server = await useServer();

test('urql: a mutation makes the cache ask again for what it has changed', { timeout }, async () => {
  const { client, requests } = connect({ token: await signIn(server, 'Customer Grace') });
  const viewerName = 'query ViewerName { viewer { id name } }';
  const { viewer } = (await client.query(viewerName)).data;
  assert.deepEqual((await client.query(viewerName)).data.viewer, viewer);
  assert.deepEqual(requests.map(({ operationName }) => operationName), ['ViewerName']);

  const name = `${viewer.name} III`;
  const renamed = await client.mutation(
    'mutation Rename($name: String!) { profileUpdate(input: {name: $name}) { user { id name } userErrors { message } } }',
    { name },
  );
  assert.deepEqual(renamed.data.profileUpdate.userErrors, []);
  assert.equal((await client.query(viewerName)).data.viewer.name, name);
  assert.deepEqual(requests.map(({ operationName }) => operationName), ['ViewerName', 'Rename', 'ViewerName']);
});

test('urql: a document is sent once, by POST, and can be asked for by GET from then on', { timeout }, async () => {
  const query = `query ${newName()}($first: Int!) { products(first: $first) { nodes { id title } } }`;
  const ask = async (preferGetForPersistedQueries) => {
    const { client, requests } = connect({ exchanges: [persistedExchange({ preferGetForPersistedQueries })] });
    const { data } = await client.query(query, { first: 2 });
    return { data, requests: requests.map(({ method, status }) => [method, status]) };
  };

  // By GET the exchange would send the document itself in the URL, too, which is not taken from there.
  const refused = await ask(true);
  assert.equal(refused.data, undefined);
  assert.deepEqual(refused.requests, [['GET', 404], ['GET', 422]]);

  const sent = await ask(false);
  assert.equal(sent.data.products.nodes.length, 2);
  assert.deepEqual(sent.requests, [['POST', 404], ['POST', 200]]);

  assert.deepEqual(await ask(true), { data: sent.data, requests: [['GET', 200]] });
});

test('urql: errors have their codes, and come beside the data', { timeout }, async () => {
  const { client, requests } = connect();
  const codes = ({ error }) => error?.graphQLErrors.map(({ extensions }) => extensions.code);

  const refused = await client.query('{ viewer { name } products(first: 1) { nodes { id } } }');
  assert.deepEqual(codes(refused), ['UNAUTHENTICATED']);
  assert.equal(refused.data.viewer, null);
  assert.equal(refused.data.products.nodes.length, 1);

  const wrong = await client.query('{ products(first: 1) { nodes { colour } } }');
  assert.deepEqual(codes(wrong), ['BAD_USER_INPUT']);
  assert.equal(wrong.data, undefined);
  assert.deepEqual(requests.map(({ status }) => status), [294, 422]);
});

/** A client with a cache of its own, and the requests that it makes. */
function connect({ token, exchanges = [] } = {}) {
  const { fetch, requests } = recordingFetch();
  const client = new Client({
    url: `${server.url}/graphql`,
    exchanges: [cacheExchange, ...exchanges, fetchExchange],
    fetchOptions: { headers: authorization(token) },
    preferGetMethod: false, // by default urql sends documents in the URL, which are not taken from there
    fetch,
  });
  return { client, requests };
}
