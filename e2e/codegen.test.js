// Types for TypeScript, made of the schema by GraphQL Code Generator, hold for a frontend that uses them. Needs no server.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const project = fileURLToPath(new URL('codegen/', import.meta.url));

before(async () => {
  await rm(`${project}generated`, { recursive: true, force: true });
  const { failed, output } = await run('graphql-codegen', '--config', 'codegen.json');
  assert.equal(failed, false, output);
});

test('codegen: what uses the types compiles', async () => {
  const { failed, output } = await run('tsc', '--project', 'tsconfig.json');
  assert.equal(failed, false, output);
});

test('codegen: what uses them wrongly does not compile', async () => {
  const lines = (await readFile(`${project}wrong.ts`, 'utf8')).split('\n');
  const expected = lines.flatMap((line, i) => {
    const [, code] = /^\/\/ (TS\d+):/.exec(line) ?? [];
    return code ? [`${i + 2} ${code}`] : [];
  });
  assert.equal(expected.length, 5);

  const { failed, output } = await run('tsc', '--project', 'tsconfig.wrong.json', '--pretty', 'false');
  assert.equal(failed, true);
  const errors = [...output.matchAll(/^wrong\.ts\((\d+),\d+\): error (TS\d+):/gm)].map(([, line, code]) => `${line} ${code}`);
  assert.deepEqual(errors, expected, output);
});

/** Runs a tool of npm's in the project. */
function run(tool, ...args) {
  const path = fileURLToPath(new URL(`node_modules/.bin/${tool}`, import.meta.url));
  return new Promise((resolve) => {
    execFile(path, args, { cwd: project, timeout: 60_000 }, (error, stdout, stderr) =>
      resolve({ failed: error !== null, output: `${stdout}${stderr}` }),
    );
  });
}
