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
  // A viewer may have 100 streams open: if they did not end, the second sixty would be too many.
  const client = connect(manager);
  const visit = () =>
    new Promise((complete, error) => {
      const leave = client.subscribe(stock, { next: () => leave(), complete, error });
    });
  for (let round = 0; round < 3; round++) {
    await Promise.all(Array.from({ length: 60 }, visit));
  }
});

test('graphql-sse is told why a subscription is refused, which ends', { timeout }, async () => {
  const orders = connect().iterate({ query: 'subscription { ordersChanged { cursor } }' });
  assert.equal((await orders.next()).value.errors[0].extensions.code, 'UNAUTHENTICATED');
  assert.equal((await orders.next()).done, true);
});

test('graphql-sse is told what is not valid, which ends', { timeout }, async () => {
  const nothing = connect().iterate({ query: 'subscription { nothing }' });
  assert.equal((await nothing.next()).value.errors[0].extensions.code, 'BAD_USER_INPUT');
  assert.equal((await nothing.next()).done, true);
});

function connect(token) {
  return createClient({ url: `${server.url}/graphql`, headers: authorization(token), retryAttempts: 0 });
}
