// Subscriptions by server-sent events, by the client of graphql-sse with a connection for each.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient } from 'graphql-sse';
import { authorization, expectStock, signIn, stockSubscription, useServer } from './client.js';

const timeout = 20_000;
const server = await useServer();
const manager = await signIn(server, 'Manager');
const stock = await stockSubscription(server);

test('graphql-sse is told how stock changes', { timeout }, () => expectStock(server, manager, connect(manager), stock));

test('graphql-sse ends its streams when it leaves', { timeout }, async () => {
  // An address may have 200 streams open: if they did not end, the second hundred would be too many.
  const client = connect(manager);
  const visit = () =>
    new Promise((complete, error) => {
      const leave = client.subscribe(stock, { next: () => leave(), complete, error });
    });
  for (let round = 0; round < 3; round++) {
    await Promise.all(Array.from({ length: 101 }, visit));
  }
});

test('graphql-sse is told why a subscription is refused, which ends', { timeout }, async () => {
  const orders = connect().iterate({ query: 'subscription { ordersChanged { cursor } }' });
  assert.equal((await orders.next()).value.errors[0].extensions.code, 'UNAUTHENTICATED');
  assert.equal((await orders.next()).done, true);
});

test('graphql-sse gets no stream for what is not valid', { timeout }, async () => {
  await assert.rejects(connect().iterate({ query: 'subscription { nothing }' }).next(), ({ response }) => {
    assert.equal(response.status, 422);
    return true;
  });
});

function connect(token) {
  return createClient({ url: `${server.url}/graphql`, headers: authorization(token), retryAttempts: 0 });
}
