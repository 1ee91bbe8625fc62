// Apollo Client: its normalised cache, persisted queries, subscriptions and errors.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { test } from 'node:test';
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { ask, authorization, newName, recordingFetch, signIn, useServer } from './client.js';

const timeout = 20_000;
const server = await useServer();
const viewerName = gql`
  query ViewerName {
    viewer {
      id
      name
    }
  }
`;

test('Apollo: the answer of a mutation updates the cached object', { timeout }, async () => {
  const { client, requests } = connect({ token: await signIn(server, 'Customer Grace') });
  const before = (await client.query({ query: viewerName })).data.viewer;
  const name = `${before.name} II`;
  const { data } = await client.mutate({
    mutation: gql`
      mutation Rename($name: String!) {
        profileUpdate(input: { name: $name }) {
          user {
            id
            name
          }
        }
      }
    `,
    variables: { name },
  });
  assert.equal(data.profileUpdate.user.id, before.id);

  const after = await client.query({ query: viewerName });
  assert.equal(after.data.viewer.name, name);
  assert.deepEqual(requests.map(({ operationName }) => operationName), ['ViewerName', 'Rename']);
});

test('Apollo: a document is sent once, and asked for by GET from then on', { timeout }, async () => {
  const query = gql(`query ${newName()}($first: Int!) { products(first: $first) { nodes { id title } } }`);
  const sha256 = (text) => createHash('sha256').update(text).digest('hex');
  const persisted = new PersistedQueryLink({ sha256, useGETForHashedQueries: true });

  const first = connect({ links: [persisted] });
  const { data } = await first.client.query({ query, variables: { first: 2 } });
  assert.equal(data.products.nodes.length, 2);
  assert.deepEqual(first.requests.map(({ method, status }) => [method, status]), [
    ['GET', 404],
    ['POST', 200],
  ]);

  const second = connect({ links: [persisted] });
  assert.deepEqual((await second.client.query({ query, variables: { first: 2 } })).data, data);
  assert.deepEqual(second.requests.map(({ method, status }) => [method, status]), [['GET', 200]]);
});

test('Apollo: a subscription tells what has changed, into the cache too', { timeout }, async (t) => {
  const manager = await signIn(server, 'Manager');
  const socket = createClient({
    url: `${server.url.replace(/^http/, 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: authorization(manager),
  });
  t.after(() => socket.dispose());
  const { client } = connect({ links: [new GraphQLWsLink(socket)] });
  const changes = new EventEmitter();
  const subscription = client
    .subscribe({
      query: gql`
        subscription OrdersChanged {
          ordersChanged {
            cursor
            order {
              id
              events {
                message
              }
            }
          }
        }
      `,
    })
    .subscribe({ next: ({ data: { ordersChanged } }) => changes.emit(ordersChanged.order?.id ?? 'begin', ordersChanged.order) });
  await once(changes, 'begin');

  const { orders } = await ask(server, '{ orders(first: 1) { nodes { id } } }', {}, manager);
  const [{ id }] = orders.nodes;
  const told = once(changes, id);
  const note = 'mutation ($id: ID!) { orderNoteAdd(input: {orderId: $id, message: "Ring twice."}) { userErrors { message } } }';
  await ask(server, note, { id }, manager);
  const [{ events }] = await told;
  assert.ok(events.some(({ message }) => message === 'Ring twice.'), JSON.stringify(events));
  assert.deepEqual(client.cache.extract()[`Order:${id}`].events, events);
  subscription.unsubscribe();
});

test('Apollo: errors have their codes', { timeout }, async () => {
  const { client, requests } = connect();
  const fails = (query, code) =>
    assert.rejects(client.query({ query }), (error) => {
      assert.ok(CombinedGraphQLErrors.is(error), error);
      assert.deepEqual(error.errors.map(({ extensions }) => extensions.code), [code]);
      return true;
    });
  await fails(viewerName, 'UNAUTHENTICATED');
  await fails(gql('{ products(first: 1) { nodes { colour } } }'), 'BAD_USER_INPUT');
  assert.deepEqual(requests.map(({ status }) => status), [294, 422]);

  const refused = await client.query({ query: viewerName, errorPolicy: 'all' });
  assert.deepEqual(refused.data, { viewer: null });
});

/** A client with a cache of its own, and the requests that it makes. */
function connect({ token, links = [] } = {}) {
  const { fetch, requests } = recordingFetch();
  const http = new HttpLink({ uri: `${server.url}/graphql`, headers: authorization(token), fetch });
  return { client: new ApolloClient({ cache: new InMemoryCache(), link: ApolloLink.from([...links, http]) }), requests };
}
