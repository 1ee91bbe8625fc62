import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { startServer } from './server.js';

const artifacts = fileURLToPath(new URL('artifacts/', import.meta.url));

let server;
let browser;

before(
  async () => {
    await mkdir(artifacts, { recursive: true });
    server = await startServer();
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM_PATH || '/usr/bin/chromium',
      args: [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
  },
  { timeout: 900_000 },
);

after(
  async () => {
    try {
      await browser?.close();
    } finally {
      await server?.stop();
    }
  },
  { timeout: 120_000 },
);

/**
 * A test with a browser profile of its own. Besides what body asserts, it fails when the page asks another origin for
 * anything or reports an error on the console. body may change the page before it is loaded by `open`.
 */
function browserTest(name, body, contextOptions = {}) {
  test(name, { timeout: 120_000 }, async () => {
    const context = await browser.newContext({
      viewport: { width: 1400, height: 850 },
      colorScheme: 'light',
      ...contextOptions,
    });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    const problems = [];
    page.on('pageerror', (error) => problems.push(`uncaught: ${error.message}`));
    page.on('console', (message) => {
      if (message.type() === 'error') {
        problems.push(`console: ${message.text()}`);
      }
    });
    context.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol !== 'data:' && url.origin !== server.url) {
        problems.push(`request to another origin: ${request.method()} ${request.url()}`);
      }
    });
    try {
      await body(page);
      assert.deepEqual(problems, []);
    } catch (error) {
      await shoot(page, `failed ${name}`).catch(() => {});
      throw error;
    } finally {
      await context.close();
    }
  });
}

const shoot = (page, name) => page.screenshot({ path: `${artifacts}${name.replace(/\W+/g, '-')}.png` });

/** Loads the Playground and returns its configuration. */
async function open(page) {
  const response = await page.goto(server.url);
  assert.equal(response.status(), 200);
  await page.getByRole('button', { name: 'Execute query' }).waitFor();
  return page.locator('#playground-config').evaluate((element) => JSON.parse(element.textContent));
}

const operationName = (query) => /^\s*(?:query|mutation)\s+(\w+)/m.exec(query)?.[1];

/** The example tab whose query passes the test. */
function exampleTab(config, what, isIt) {
  const tab = config.tabs.find(({ query }) => isIt(query.replace(/#.*/g, '')));
  assert.ok(tab, `no example tab ${what}`);
  return { ...tab, operation: operationName(tab.query) };
}

function demoAccount(config, label) {
  const account = config.accounts.find((item) => label.test(item.label));
  assert.ok(account, `no demo account with a label like ${label}`);
  return account;
}

async function openTab(page, operation) {
  await page.getByRole('tab', { name: operation }).getByRole('button', { name: operation }).click();
  await page.locator('.graphiql-tab-active', { hasText: operation }).waitFor();
}

const editorText = (page, selector) => page.locator(selector).evaluate((element) => element.CodeMirror.getValue());
const headersText = (page) => editorText(page, '.graphiql-editor-tool .graphiql-editor:nth-of-type(2) .CodeMirror');

/** Writes variables into the open tab, as if they were pasted. */
async function setVariables(page, variables) {
  await page
    .locator('.graphiql-editor-tool .graphiql-editor:nth-of-type(1) .CodeMirror')
    .evaluate((element, text) => element.CodeMirror.setValue(text), JSON.stringify(variables));
}

/** Runs the open tab and returns the answer, once the page shows it. */
async function run(page, operation) {
  const [response] = await Promise.all([
    page.waitForResponse(
      (candidate) =>
        candidate.request().method() === 'POST' && candidate.request().postDataJSON()?.operationName === operation,
    ),
    page.getByRole('button', { name: 'Execute query' }).click(),
  ]);
  const answer = await response.json();
  await page.waitForFunction(
    (expected) => {
      const shown = document.querySelector('.result-window .CodeMirror').CodeMirror.getValue();
      try {
        return JSON.stringify(JSON.parse(shown)) === expected;
      } catch {
        return false;
      }
    },
    JSON.stringify(answer),
  );
  assert.equal(answer.errors, undefined, JSON.stringify(answer.errors));
  return answer.data;
}

async function signIn(page, account) {
  const select = page.getByLabel('Sign in as');
  await select.selectOption({ label: account.label });
  await page.waitForFunction(
    (label) => {
      const element = document.querySelector('.playground-account select');
      return !element.disabled && element.selectedOptions[0].label === label;
    },
    account.label,
  );
  const { Authorization } = JSON.parse(await headersText(page));
  assert.match(Authorization, /^Bearer \S+$/);
  return Authorization;
}

const itemsOf = (connection) => connection.nodes ?? connection.edges.map((edge) => edge.node);

browserTest('the page loads from its own origin, with its example tabs', async (page) => {
  const responses = [];
  page.on('response', (response) => responses.push(response));
  const config = await open(page);
  assert.ok(config.tabs.length > 0, 'no example tabs');
  assert.deepEqual(
    await page.locator('.graphiql-tab-button').allTextContents(),
    config.tabs.map((tab) => operationName(tab.query)),
  );
  await page.waitForLoadState('networkidle');
  for (const response of responses) {
    assert.equal(response.status(), 200, response.url());
  }
  const policy = responses[0].headers()['content-security-policy'];
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|https?:/);
  await shoot(page, 'light');
});

browserTest('the first example shows products and facets', async (page) => {
  const config = await open(page);
  const { products } = await run(page, operationName(config.tabs[0].query));
  assert.ok(itemsOf(products).length > 0, 'no products');
  assert.ok(
    Object.values(products.facets).some((facet) => Array.isArray(facet) && facet.length > 0),
    `no facet has a value: ${JSON.stringify(products.facets)}`,
  );
  await shoot(page, 'products');
});

browserTest('the documentation and the history show what is there', async (page) => {
  const config = await open(page);
  const operation = operationName(config.tabs[0].query);
  await run(page, operation);
  await page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
  await page.locator('.graphiql-plugin').getByRole('link', { name: 'Query', exact: true }).click();
  await page.locator('.graphiql-plugin').getByRole('link', { name: 'products', exact: true }).waitFor();
  await shoot(page, 'documentation');
  await page.getByRole('button', { name: 'Show History' }).click();
  await page.locator('.graphiql-history-item-label', { hasText: operation }).waitFor();
});

browserTest('a customer signs in and sees name and orders', async (page) => {
  const config = await open(page);
  const tab = exampleTab(config, 'for the account', (query) => /\bviewer\b/.test(query));
  const authorization = await signIn(page, demoAccount(config, /customer/i));

  await openTab(page, tab.operation);
  assert.equal(JSON.parse(await headersText(page)).Authorization, authorization);
  const { viewer } = await run(page, tab.operation);
  assert.match(viewer.name, /\S/);
  assert.ok(itemsOf(viewer.orders).length > 0, 'no orders');
  await shoot(page, 'account');

  const stored = await page.evaluate(() => JSON.stringify(localStorage));
  assert.ok(stored.includes(tab.operation), 'nothing is stored');
  assert.ok(!stored.includes('Bearer'), 'the token is stored');

  await page.getByLabel('Sign in as').selectOption({ label: 'Signed out' });
  assert.doesNotMatch(await headersText(page), /Bearer/);
  await openTab(page, operationName(config.tabs[0].query));
  assert.doesNotMatch(await headersText(page), /Bearer/);
});

browserTest('staff signs in and sees the orders of customers', async (page) => {
  const config = await open(page);
  const tab = exampleTab(
    config,
    'for the orders of all',
    (query) => /\borders\b/.test(query) && !/\bviewer\b|\bmutation\b/.test(query),
  );
  await signIn(page, demoAccount(config, /staff|support|manager|admin/i));
  await openTab(page, tab.operation);
  const { orders } = await run(page, tab.operation);
  assert.ok(itemsOf(orders).length > 0, 'no orders');
  await shoot(page, 'staff-orders');
});

browserTest('a purchase goes from the cart to the refund', async (page) => {
  const config = await open(page);
  const tab = (title) => exampleTab({ tabs: config.tabs.filter((item) => item.title.startsWith(title)) }, title, () => true);
  const step = async (title, variables = {}) => {
    const { operation, variables: given } = tab(title);
    await openTab(page, operation);
    if (Object.keys(variables).length > 0) {
      await setVariables(page, { ...JSON.parse(given), ...variables });
    }
    const data = await run(page, operation);
    for (const payload of Object.values(data)) {
      assert.deepEqual(payload.userErrors ?? [], [], JSON.stringify(data));
    }
    return data;
  };
  const customer = demoAccount(config, /customer/i);
  const manager = demoAccount(config, /manager/i);

  await signIn(page, customer);
  const { cart } = (await step('Purchase 1')).cartUpdate;
  assert.deepEqual(cart.warnings, []);
  const placed = (await step('Purchase 2')).orderPlace.order;
  assert.deepEqual([placed.status, placed.paymentStatus, placed.total], ['PLACED', 'AUTHORIZED', cart.total]);
  const [mine] = (await step('Purchase 3')).orders.nodes;
  assert.equal(mine.number, placed.number);
  assert.deepEqual(mine.events.map(({ kind }) => kind), ['CREATED', 'PAYMENT_AUTHORIZED', 'PLACED']);
  await shoot(page, 'purchase-status');

  await signIn(page, manager);
  const waits = (await step('Purchase 4')).orders.nodes.find(({ number }) => number === placed.number);
  const order = waits.id;
  const line = waits.lines[0].id;
  const payment = waits.payments[0].id;
  const sent = (await step('Purchase 5', { order, payment })).paymentCapture.payment;
  assert.deepEqual(
    [sent.status, sent.captured.amount, sent.order],
    ['CAPTURED', cart.total.amount, { status: 'CONFIRMED', paymentStatus: 'PAID', fulfillmentStatus: 'FULFILLED' }],
  );
  const back = (await step('Purchase 6', { order, line, payment })).paymentRefund.payment;
  assert.deepEqual(
    [back.status, back.refunded.amount, back.order.fulfillmentStatus],
    ['PARTIALLY_REFUNDED', cart.subtotal.amount, 'RETURNED'],
  );
  await shoot(page, 'purchase-return');
});

browserTest('a sign-in that fails says why and changes nothing', async (page) => {
  const config = await open(page);
  const account = demoAccount(config, /./);
  await page.route(`**${config.endpoint}`, (route) =>
    route.fulfill({ json: { data: { signIn: { tokens: null, userErrors: [{ message: 'No such account.' }] } } } }),
  );
  const before = await headersText(page);
  await page.getByLabel('Sign in as').selectOption({ label: account.label });
  await page.getByText(`Signing in as ${account.label} failed: No such account.`).waitFor();
  assert.equal(await headersText(page), before);
  assert.equal(
    await page.getByLabel('Sign in as').evaluate((select) => select.selectedOptions[0].label),
    'Signed out',
  );
});

browserTest('a server that does not show its schema leaves a page that works', async (page) => {
  await page.route('**/*', (route) =>
    route.request().method() === 'POST' && route.request().postDataJSON().operationName === 'IntrospectionQuery'
      ? route.fulfill({ json: { errors: [{ message: 'introspection is off' }] } })
      : route.fallback(),
  );
  const config = await open(page);
  await page.getByText('This server does not show its schema (introspection is off).').waitFor();
  await page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
  await page.getByText('Error fetching schema').waitFor();
  const { products } = await run(page, operationName(config.tabs[0].query));
  assert.ok(itemsOf(products).length > 0, 'no products');
  await shoot(page, 'no-schema');

  await page.unrouteAll();
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByText('This server does not show its schema').waitFor({ state: 'detached' });
});

browserTest('the example tabs show up where another GraphiQL has been', async (page) => {
  await page.addInitScript(() => {
    localStorage.setItem('graphiql:query', '{ elsewhere }');
    localStorage.setItem(
      'graphiql:tabState',
      JSON.stringify({
        activeTabIndex: 0,
        tabs: [
          { id: 'a', title: 'Elsewhere', query: '{ elsewhere }', variables: '', headers: '', operationName: null, response: null },
        ],
      }),
    );
  });
  const config = await open(page);
  assert.equal(await page.locator('.graphiql-tab-button').count(), config.tabs.length);

  // A tab that was closed comes back from the menu, and all of them are there after a reload.
  const [first] = config.tabs;
  const operation = operationName(first.query);
  await page.getByRole('button', { name: 'Close Tab' }).first().click();
  await page.getByRole('tab', { name: operation, exact: true }).waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Examples' }).click();
  await page.getByRole('menuitem', { name: first.title, exact: true }).click();
  await page.locator('.graphiql-tab-active', { hasText: operation }).waitFor();
  assert.equal(await editorText(page, '.graphiql-query-editor .CodeMirror'), first.query);
  await run(page, operation);
  await page.waitForFunction(
    (query) => JSON.parse(localStorage.getItem('emporium-playground:graphiql:tabState'))?.tabs.at(-1).query === query,
    first.query,
  );
  await open(page);
  assert.equal(await page.locator('.graphiql-tab-button').count(), config.tabs.length);
});

browserTest('the theme follows the system until one is chosen', async (page) => {
  // Light text stands on dark ground. The bar and GraphiQL have style sheets of their own and have to agree.
  const isDark = async () => {
    const [bar, graphiql] = await page.evaluate(() =>
      ['.playground-title', '.graphiql-container'].map((selector) => {
        const [red] = /\d+/.exec(getComputedStyle(document.querySelector(selector)).color);
        return Number(red) > 128;
      }),
    );
    assert.equal(bar, graphiql, 'the bar and GraphiQL show different themes');
    return graphiql;
  };
  const choose = async (theme) => {
    await page.getByRole('button', { name: 'Open settings dialog' }).click();
    await page.getByRole('dialog').getByRole('button', { name: theme, exact: true }).click();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  };

  const config = await open(page);
  await run(page, operationName(config.tabs[0].query));
  assert.equal(await isDark(), false);
  await page.emulateMedia({ colorScheme: 'dark' });
  assert.equal(await isDark(), true);
  await choose('Light');
  assert.equal(await isDark(), false);
  await page.emulateMedia({ colorScheme: 'light' });
  await choose('Dark');
  assert.equal(await isDark(), true);
  await shoot(page, 'dark');
  await open(page);
  await page.locator('body.graphiql-dark').waitFor();
  assert.equal(await isDark(), true);
  await choose('System');
  assert.equal(await isDark(), false);
});
