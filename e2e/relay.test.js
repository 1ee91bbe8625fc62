// Relay's compiler, the strictest reader of a schema among clients, accepts ours: `node`, connections and cursors have
// the shape that it needs to refetch and to paginate. Relay's runtime then does both with what the compiler has written.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import compiler from 'relay-compiler';
import relay from 'relay-runtime';
import { ask, signIn, useServer } from './client.js';

const documents = fileURLToPath(new URL('relay/', import.meta.url));
const server = await useServer();
const schema = fileURLToPath(new URL('../schema.graphqls', import.meta.url));

test('Relay: typical documents compile', async (t) => {
  const project = await newProject(t);

  const { failed, output } = await project.compile();

  assert.equal(failed, false, output);
  assert.deepEqual(await project.artifacts(), [
    'AccountSignInMutation',
    'AccountSignOutMutation',
    'CatalogueProductsPaginationQuery', // made by @refetchable
    'CatalogueQuery',
    'Catalogue_money',
    'Catalogue_product',
    'Catalogue_products',
    'Catalogue_variant',
    'OrdersOrderRefetchQuery', // made by @refetchable
    'OrdersPaginationQuery', // made by @refetchable
    'OrdersQuery',
    'Orders_order',
    'Orders_orders',
    'RefetchNodeQuery',
    'RefetchNodesQuery',
  ]);

  // The orders of a user are paginated through `node`, and the connection asks by itself for what it needs to go on.
  const orders = project.artifact('Orders_orders');
  assert.deepEqual(orders.metadata.connection, [
    { count: 'first', cursor: 'after', direction: 'forward', path: ['orders'] },
  ]);
  assert.deepEqual(orders.metadata.refetch.fragmentPathInResult, ['node']);
  assert.deepEqual(orders.metadata.refetch.identifierInfo, {
    identifierField: 'id',
    identifierQueryVariableName: 'id',
  });
  const { text } = project.artifact('OrdersPaginationQuery').params;
  assert.match(text, /node\(id: \$id\)/);
  assert.match(text, /pageInfo \{\s+endCursor\s+hasNextPage\s+\}/);

  // The products are paginated from the root, in both directions.
  const products = project.artifact('Catalogue_products');
  assert.deepEqual(products.metadata.connection, [
    { count: null, cursor: null, direction: 'bidirectional', path: ['products'] },
  ]);
  assert.deepEqual(products.metadata.refetch.fragmentPathInResult, []);
});

test('Relay: a document with a wrong field fails', async (t) => {
  const project = await newProject(t);
  await project.write(
    'src/Wrong.js',
    "import { graphql } from 'react-relay';\ngraphql`query WrongQuery { viewer { favouriteColour } }`;\n",
  );

  const { failed, output } = await project.compile();

  assert.equal(failed, true, output);
  assert.match(output, /type `User` has no field `favouriteColour`/);
  assert.match(output, /src\/Wrong\.js:2:/);
  assert.deepEqual(await project.artifacts(), []);
});

test('Relay: a schema whose edges have no cursor fails', async (t) => {
  const project = await newProject(t);
  const sdl = await readFile(schema, 'utf8');
  const broken = sdl.replace(/(type OrderEdge \{[^}]*?)cursor: String!/, '$1position: String!');
  assert.notEqual(broken, sdl);
  await project.write('schema.graphql', broken);

  const { failed, output } = await project.compile();

  assert.equal(failed, true, output);
  assert.match(output, /field type 'OrderConnection' to expose a 'edges \{ cursor \}' field/);
  assert.deepEqual(await project.artifacts(), []);
});

test('Relay: the runtime refetches by node, and pages through a connection', { timeout: 60_000 }, async (t) => {
  const project = await newProject(t);
  const { failed, output } = await project.compile();
  assert.equal(failed, false, output);
  const token = await signIn(server, 'Customer Ada');
  const { viewer } = await ask(server, '{ viewer { orders(first: 100) { nodes { id number } } } }', {}, token);
  const numbers = viewer.orders.nodes.map(({ number }) => number);
  assert.ok(numbers.length > 5, 'too few orders for two pages');

  const { fetchQuery, read } = newRelay(project, token);

  // Each page is added to the connection in the store, where all who show it find it.
  const shown = await fetchQuery('OrdersQuery', { first: 5 });
  const connection = () => read('Orders_orders', shown.viewer).orders;
  const id = shown.viewer[relay.ID_KEY];
  let pages = 1;
  while (connection().pageInfo.hasNextPage) {
    await fetchQuery('OrdersPaginationQuery', { id, first: 5, after: connection().pageInfo.endCursor });
    assert.equal(connection().edges.length, Math.min(numbers.length, ++pages * 5));
  }
  assert.deepEqual(
    connection().edges.map(({ node }) => read('Orders_order', node).number),
    numbers,
  );

  // A node that comes alone, into an empty store, is the one of the connection.
  const last = connection().edges.at(-1).node;
  const other = newRelay(project, token);
  const { node } = await other.fetchQuery('RefetchNodeQuery', { id: last[relay.ID_KEY] });
  assert.equal(node.__typename, 'Order');
  const told = ({ number, status, total }) => ({ number, status, total });
  assert.deepEqual(told(other.read('Orders_order', node.Orders_order)), told(read('Orders_order', last)));
});

/** Relay as somebody who is signed in, with a store of its own and the artifacts of a project. */
function newRelay(project, token) {
  const environment = new relay.Environment({
    network: relay.Network.create(async ({ text }, variables) => ({ data: await ask(server, text, variables, token) })),
    store: new relay.Store(new relay.RecordSource()),
  });
  return {
    fetchQuery: (name, variables) => relay.fetchQuery(environment, project.artifact(name), variables).toPromise(),
    read: (name, reference) => environment.lookup(relay.getSingularSelector(project.artifact(name), reference)).data,
  };
}

/** A directory with the schema, the documents and a configuration of the compiler; gone when the test ends. */
async function newProject(t) {
  const directory = await mkdtemp(join(tmpdir(), 'emporium-relay-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const write = (path, content) => writeFile(join(directory, path), content);

  await mkdir(join(directory, 'artifacts'));
  await cp(documents, join(directory, 'src'), { recursive: true });
  await copyFile(schema, join(directory, 'schema.graphql'));
  await write(
    'relay.config.json',
    JSON.stringify({
      src: './src',
      schema: './schema.graphql',
      artifactDirectory: './artifacts',
      language: 'javascript',
      eagerEsModules: false,
    }),
  );

  return {
    write,

    /** Runs the compiler; without Watchman, which is a daemon that is not there everywhere. */
    compile: () =>
      new Promise((resolve) => {
        execFile(
          compiler,
          ['--noWatchman', 'relay.config.json'],
          { cwd: directory, timeout: 60_000 },
          (error, stdout, stderr) =>
            resolve({
              failed: error !== null,
              output: stripVTControlCharacters([stdout, stderr, error?.code ? '' : (error?.message ?? '')].join('')),
            }),
        );
      }),

    /** The names of what the compiler has written. */
    artifacts: async () =>
      (await readdir(join(directory, 'artifacts'))).map((file) => file.replace(/\.graphql\.js$/, '')).sort(),

    /** What the compiler has written for a document, as a value. */
    artifact: (name) => createRequire(import.meta.url)(join(directory, 'artifacts', `${name}.graphql.js`)),
  };
}
