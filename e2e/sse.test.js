// Subscriptions by server-sent events, by the client of graphql-sse with a connection for each.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient } from 'graphql-sse';
import { authorization, onHand, receive, signIn, someVariant, useServer } from './client.js';

const timeout = 20_000;
const server = await useServer();
const manager = await signIn(server, 'Manager');
const variant = await someVariant(server);

const watch = {
  query: 'subscription ($ids: [ID!]!) { stockChanged(variantIds: $ids) { variant { id inventory { onHand } } } }',
  variables: { ids: [variant] },
};

test('the client is told how stock changes', { timeout }, async () => {
  const client = connect(manager);
  const stock = client.iterate(watch);
  const before = await onHand(server, manager, variant);
  const told = (onHand) => ({ data: { stockChanged: { variant: { id: variant, inventory: { onHand } } } } });
  assert.deepEqual((await stock.next()).value, told(before));

  await receive(server, manager, variant, 3);
  assert.deepEqual((await stock.next()).value, told(before + 3));
  client.dispose();
});

test('a client that leaves ends its streams', { timeout }, async () => {
  // An address may have 200 streams open: if they did not end, the second hundred would be too many.
  const client = connect(manager);
  const visit = () =>
    new Promise((complete, error) => {
      const leave = client.subscribe(watch, { next: () => leave(), complete, error });
    });
  for (let round = 0; round < 3; round++) {
    await Promise.all(Array.from({ length: 101 }, visit));
  }
});

test('a subscription that is refused says so and ends', { timeout }, async () => {
  const orders = connect().iterate({ query: 'subscription { ordersChanged { cursor } }' });
  assert.equal((await orders.next()).value.errors[0].extensions.code, 'UNAUTHENTICATED');
  assert.equal((await orders.next()).done, true);
});

test('a subscription that is not valid is no stream', { timeout }, async () => {
  await assert.rejects(connect().iterate({ query: 'subscription { nothing }' }).next(), ({ response }) => {
    assert.equal(response.status, 422);
    return true;
  });
});

function connect(token) {
  return createClient({ url: `${server.url}/graphql`, headers: authorization(token), retryAttempts: 0 });
}
