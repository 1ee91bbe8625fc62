// Relay's compiler, the strictest reader of a schema among clients, accepts ours: `node`, connections and cursors have
// the shape that it needs to refetch and to paginate. Needs no server.

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

const documents = fileURLToPath(new URL('relay/', import.meta.url));
const schema = fileURLToPath(new URL('../schema.graphqls', import.meta.url));

test('typical documents compile', async (t) => {
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

test('a document with a wrong field fails', async (t) => {
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

test('a schema whose edges have no cursor fails', async (t) => {
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
