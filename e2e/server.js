import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const repository = dirname(dirname(fileURLToPath(import.meta.url)));
const readyWithin = 120_000;
const stopWithin = 30_000;

/**
 * The server under test, as { url, stop }: the one at EMPORIUM_URL, or else one that is built from this repository and
 * runs on free ports with its state in a temporary directory. With an environment of its own it is always the latter.
 */
export async function startServer(environment) {
  if (process.env.EMPORIUM_URL && !environment) {
    const { origin } = new URL(process.env.EMPORIUM_URL);
    return { url: origin, stop: async () => {} };
  }

  const directory = await mkdtemp(join(tmpdir(), 'emporium-e2e-'));
  const binary = join(directory, 'emporium');
  const logFile = join(directory, 'log');
  let child;
  const exited = () => !child || child.exitCode !== null || child.signalCode !== null;

  // Whatever ends this process ends the server too; its directory stays, as the server still uses it while it stops.
  const interrupt = () => process.exit(1);
  const onExit = () => exited() || child.kill('SIGTERM');
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt).once('exit', onExit);

  async function stop() {
    if (!exited()) {
      const end = once(child, 'exit');
      child.kill('SIGTERM');
      if (!(await Promise.race([end, sleep(stopWithin, null, { ref: false })]))) {
        console.error(`the server still runs ${stopWithin / 1000} s after SIGTERM: killing it`);
        child.kill('SIGKILL');
        await end;
      }
    }
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt).off('exit', onExit);
    await rm(directory, { recursive: true, force: true });
  }

  try {
    await promisify(execFile)('go', ['build', '-o', binary, '.'], { cwd: repository });
    const [httpPort, adminPort, providerPort] = await freePorts(3);
    const url = `http://127.0.0.1:${httpPort}`;
    child = spawn(binary, ['serve'], {
      cwd: directory,
      env: {
        ...ownEnvironment(),
        EMPORIUM_DIR: join(directory, 'state'),
        HTTP_ADDR: `127.0.0.1:${httpPort}`,
        ADMIN_ADDR: `127.0.0.1:${adminPort}`,
        TEST_PROVIDER_ADDR: `127.0.0.1:${providerPort}`,
        ...environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    await once(child, 'spawn');
    const log = createWriteStream(logFile);
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    await ready(url, exited);
    return { url, stop };
  } catch (error) {
    const output = await readFile(logFile, 'utf8').catch(() => '');
    await stop();
    throw new Error(`${error.message}\n${output.slice(-4000)}`, { cause: error });
  }
}

/** The environment without what would point the server at a database that is not its own. */
function ownEnvironment() {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/(^|_)(DATABASE(_DIRECT)?|REDIS)_URL$/.test(name)),
  );
}

async function ready(url, exited) {
  const deadline = Date.now() + readyWithin;
  let last = 'nothing yet';
  while (Date.now() < deadline) {
    if (exited()) {
      throw new Error('the server ended before it was ready');
    }
    try {
      const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5_000) });
      if (response.ok) {
        return;
      }
      last = `${response.status} ${await response.text()}`;
    } catch (error) {
      last = error.cause?.message ?? error.message;
    }
    await sleep(250);
  }
  throw new Error(`the server was not ready after ${readyWithin / 1000} s: ${last}`);
}

async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}
