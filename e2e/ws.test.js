// Subscriptions over WebSocket, by the client of graphql-ws and by bare sockets that break its protocol.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { authorization, expectStock, signIn, stockSubscription, useServer } from './client.js';

const timeout = 20_000;
const server = await useServer();
const endpoint = `${server.url.replace(/^http/, 'ws')}/graphql`;
const manager = await signIn(server, 'Manager');
const stock = await stockSubscription(server);

test('graphql-ws is told how stock changes', { timeout }, async () => {
  const client = connect(authorization(manager));
  await expectStock(server, manager, client, stock);
  await client.dispose();
});

test('graphql-ws fails a subscription that is refused, or not valid, with its errors', { timeout }, async () => {
  const client = connect();
  await assert.rejects(
    client.iterate({ query: 'subscription { ordersChanged { cursor } }' }).next(),
    ([{ extensions }]) => extensions.code === 'UNAUTHENTICATED',
  );
  await assert.rejects(client.iterate({ query: 'subscription { nothing }' }).next(), ([{ message }]) =>
    message.includes('"nothing"'),
  );
  await client.dispose();
});

const init = { type: 'connection_init' };
const subscribe = { id: '1', type: 'subscribe', payload: stock };

for (const { name, protocol = 'graphql-transport-ws', messages, code } of [
  { name: 'a message that is no JSON', messages: [init, 'hello'], code: 4400 },
  { name: 'a type that is not known', messages: [init, { type: 'hello' }], code: 4400 },
  { name: 'a subscription before connection_init', messages: [subscribe], code: 4401 },
  {
    name: 'a token that does not hold',
    messages: [{ ...init, payload: { Authorization: 'Bearer nonsense' } }],
    code: 4403,
  },
  { name: 'no connection_init', messages: [], code: 4408 },
  { name: 'an ID that is in use', messages: [init, subscribe, subscribe], code: 4409 },
  { name: 'a second connection_init', messages: [init, init], code: 4429 },
  { name: 'no sub-protocol', protocol: [], messages: [], code: 4406 },
]) {
  test(`${name} closes with ${code}`, { timeout }, async () => {
    const socket = new WebSocket(endpoint, protocol);
    const closed = once(socket, 'close');
    await once(socket, 'open');
    for (const message of messages) {
      socket.send(typeof message === 'string' ? message : JSON.stringify(message));
    }
    assert.equal((await closed)[0], code);
  });
}

function connect(connectionParams) {
  return createClient({ url: endpoint, webSocketImpl: WebSocket, connectionParams, retryAttempts: 0 });
}
