// The audits of graphql-http, which know an older draft of GraphQL over HTTP than the edition that is served. The profile
// `audit` passes all of them; what the default profile does not pass is listed here, so that nothing else comes to it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverAudits } from 'graphql-http';
import { useServer } from './client.js';

const audited = await useServer({ HTTP_PROFILE: 'audit' });
const server = await useServer();

/** What is answered instead, by audit. */
const different = {
  // What is no request, or does not hold, is 422, and not 400.
  '423L': 422, // no query
  LKJ0: 422, // a query that is no string
  LKJ1: 422,
  LKJ2: 422,
  LKJ3: 422,
  '6C00': 422, // an operationName that is no string
  '6C01': 422,
  '6C02': 422,
  '6C03': 422,
  4760: 422, // variables that are no object
  4761: 422,
  4762: 422,
  4763: 422,
  '58B0': 422, // extensions that are no object
  '58B1': 422,
  '58B2': 422,
  '58B3': 422,
  '3E3A': 422, // a request without anything that is known
  '86EE': 422, // a variable of another type
  // Nor is it 200 for those who accept application/json.
  '572B': 400, // a document that does not parse
  FDE2: 400, // one that does not parse either, although the audit means one that is not valid
  '7B9B': 422, // a variable of another type
  // Documents that are not kept are not taken by GET.
  '5A70': 422,
  D6D5: 422,
  '6A70': 422,
};

test('the profile for audits passes all of them', () => expectFailures(audited, {}));

test('the default profile differs where the edition of September 2026 does', () => expectFailures(server, different));

/** Runs all audits and compares those that fail, by the status of the answer; prints a table, as an ID says little. */
async function expectFailures({ url }, expected) {
  const audits = serverAudits({ url: `${url}/graphql` });
  assert.equal(audits.length, 61);
  const failed = (await Promise.all(audits.map((audit) => audit.fn()))).filter(({ status }) => status !== 'ok');
  const unexpected = failed.filter(({ id, response }) => expected[id] !== response.status);
  if (unexpected.length > 0) {
    console.table(unexpected.map(({ id, name, reason, response }) => ({ id, name, reason, status: response.status })));
  }
  assert.deepEqual(Object.fromEntries(failed.map(({ id, response }) => [id, response.status])), expected);
}
