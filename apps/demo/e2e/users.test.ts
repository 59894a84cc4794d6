/**
 * Users on real processes: added, logged in through a root proxy, let through by the policy, and cut off. Everything is done with `xylem`,
 * as a person would; figures are printed as diagnostics.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { EVENT } from '@xylem/telemetry';
import { ECHO_PORT } from '../src/layout.ts';
import { JoinedDeployment } from './support/joined.ts';
import type { Ended, JoinedProxy } from './support/joined.ts';

const DEADLINE_MS = 20_000;
/** What an administrator takes away is gone everywhere within. */
const CUT_MS = 2_000;
const HOUR_MS = 3_600_000;
const ECHO = `echo.berlin:${ECHO_PORT}`;
const POLICY = `rules:
  - name: echo
    allow: [group:staff]
    leaves: [berlin]
    nodes: [echo]
`;

interface Opened {
  readonly socket: Socket;
  /** Head of the answer. */
  readonly head: string;
}

/** CONNECT to the echo node with the token as `Basic` password, as curl and others send it. */
async function open({ addresses }: JoinedProxy, user: string, token: string): Promise<Opened> {
  const [host = '', port = ''] = addresses.frontDoor.split(':');
  const socket = connect({ host, port: Number(port) });
  socket.on('error', () => undefined);
  const basic = Buffer.from(`${user}:${token}`).toString('base64');
  const login = token === '' ? '' : `Proxy-Authorization: Basic ${basic}\r\n`;
  socket.write(`CONNECT ${ECHO} HTTP/1.1\r\nHost: ${ECHO}\r\n${login}\r\n`);
  let head = '';
  while (!head.includes('\r\n\r\n')) {
    const [chunk] = await once(socket, 'data', { signal: AbortSignal.timeout(DEADLINE_MS) });
    head += String(chunk);
  }
  return { socket, head };
}

/** However it ends: a reset is an error first. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

describe('a user', { timeout: 120_000 }, () => {
  let deployment: JoinedDeployment;
  let proxies: readonly JoinedProxy[];
  let root: string;
  let pin = '';

  const home = (user: string): string => join(deployment.folder, `home-${user}`);
  const tokenOf = (user: string): string => readFileSync(join(home(user), 'access-token'), 'utf8').trim();
  const add = async (user: string, ...flags: readonly string[]): Promise<void> => {
    const password = join(deployment.folder, `${user}.password`);
    const args = ['users', 'add', user, '--password-file', password, ...flags];
    writeFileSync(password, `password of ${user}\n`, { mode: 0o600 });
    const { out } = await deployment.administer(...args);
    pin = /sha256:[0-9a-f]{64}/.exec(out)?.[0] ?? '';
  };
  const login = (user: string, ...flags: readonly string[]): Promise<Ended> => {
    const where = ['--root', root, '--access', proxies[0]?.addresses.access ?? '', '--identity-dir', home(user)];
    const password = ['--password-file', join(deployment.folder, `${user}.password`)];
    return deployment.xylem(['login', '--user', user, '--pin', pin, ...where, ...password, ...flags]);
  };

  before(async () => {
    deployment = await JoinedDeployment.create({ certificateTtlMs: HOUR_MS, policy: POLICY });
    await deployment.startRegistry();
    proxies = [await deployment.startProxy('p1'), await deployment.startProxy('p2')];
    // Any root proxy hands logins on to the registry, as a load balancer would deliver them.
    root = proxies[0]?.addresses.tunnel ?? '';
    const token = await deployment.token('--leaf', 'berlin');
    const directory = deployment.agentFolder('berlin', 'a1');
    const flags = ['--token-file', '-', '--root', root, '--agent', 'a1', '--identity-dir', directory];
    const joined = await deployment.xylem(['agent', 'join', ...flags], token);
    assert.equal(joined.status, 0, joined.err);
    await deployment.startAgent('berlin', 'a1', root);
    const claimed = (): true | undefined =>
      deployment.recorder.events(EVENT.claimRecorded, 'berlin/a1').length >= 1 || undefined;
    await deployment.recorder.until('a root proxy claimed', claimed, DEADLINE_MS);
  });
  after(() => deployment.close());

  test('logs in through a root proxy, and gets through by certificate and by token', async () => {
    await add('alice', '--group', 'staff');
    const done = await login('alice');
    assert.equal(done.status, 0, done.err);
    for (const proxy of proxies) {
      const { socket, head } = await open(proxy, 'alice', tokenOf('alice'));
      assert.match(head, /^HTTP\/1\.1 200 /);
      socket.end('hello');
      const [answer] = await once(socket, 'data', { signal: AbortSignal.timeout(DEADLINE_MS) });
      assert.equal(String(answer), 'hello');
    }
    const config = ['--config', join(home('alice'), 'client.yaml')];
    const carried = await deployment.xylem(['connect', ECHO, ...config], 'through the certificate');
    assert.equal(carried.status, 0, carried.err);
    assert.equal(carried.out, 'through the certificate');
  });

  test('is denied what no rule allows, in words that say so', async () => {
    const [proxy] = proxies;
    assert.ok(proxy !== undefined);
    await add('bob');
    assert.equal((await login('bob')).status, 0);
    const denied = await open(proxy, 'bob', tokenOf('bob'));
    assert.match(denied.head, /^HTTP\/1\.1 403 [^]*\r\nXylem-Outcome: denied\r\n/);
    assert.match((await open(proxy, '', '')).head, /^HTTP\/1\.1 403 /);
    const config = ['--config', join(home('bob'), 'client.yaml')];
    assert.equal((await deployment.xylem(['connect', ECHO, ...config])).status, 77);
    const check = await deployment.administer('policy', 'check', 'alice', ECHO);
    assert.match(check.out, /^allowed: rule echo allows group:staff to reach echo\.berlin:7/);
  });

  test('cannot show the token of somebody else, a changed one, or a password', async () => {
    const [proxy] = proxies;
    assert.ok(proxy !== undefined);
    const token = tokenOf('alice');
    assert.match((await open(proxy, 'bob', token)).head, /^HTTP\/1\.1 407 [^]*\r\nProxy-Authenticate: Bearer/);
    assert.match((await open(proxy, 'alice', `${token.slice(0, -4)}AAAA`)).head, /^HTTP\/1\.1 407 /);
    assert.match((await open(proxy, 'alice', 'password-of-alice')).head, /^HTTP\/1\.1 400 /);
  });

  test('who is disabled is cut off everywhere within two seconds', async (t) => {
    const [first, second] = proxies;
    assert.ok(first !== undefined && second !== undefined);
    const token = tokenOf('alice');
    const open1 = await open(first, 'alice', token);
    const open2 = await open(second, 'alice', token);
    const cut = Promise.all([open1, open2].map(({ socket }) => closed(socket)));
    const since = performance.now();
    await deployment.administer('users', 'disable', 'alice');
    const saidMs = performance.now() - since;
    await cut;
    const cutMs = performance.now() - since;
    t.diagnostic(`the command took ${saidMs.toFixed(0)} ms, both connections were cut after ${cutMs.toFixed(0)} ms`);
    assert.ok(cutMs < saidMs + CUT_MS, `cut after ${cutMs} ms`);
    for (const proxy of proxies) assert.match((await open(proxy, 'alice', token)).head, /^HTTP\/1\.1 407 /);
    const config = ['--config', join(home('alice'), 'client.yaml')];
    assert.notEqual((await deployment.xylem(['connect', ECHO, ...config])).status, 0);
    const again = await login('alice');
    assert.equal(again.status, 77);
    assert.match(again.err, /the user is disabled/);
  });

  test('a changed policy counts within two seconds, for open connections as well', async (t) => {
    const [first] = proxies;
    assert.ok(first !== undefined);
    await add('carol', '--group', 'staff');
    assert.equal((await login('carol')).status, 0);
    const { socket, head } = await open(first, 'carol', tokenOf('carol'));
    assert.match(head, /^HTTP\/1\.1 200 /);
    const cut = closed(socket);
    const path = join(deployment.folder, 'closed.yaml');
    writeFileSync(path, `${POLICY}  - { name: closed, deny: [everyone], leaves: ['*'], nodes: [echo] }\n`);
    const since = performance.now();
    await deployment.administer('policy', 'set', path);
    const saidMs = performance.now() - since;
    await cut;
    const cutMs = performance.now() - since;
    t.diagnostic(`the command took ${saidMs.toFixed(0)} ms, the connection was cut after ${cutMs.toFixed(0)} ms`);
    assert.ok(cutMs < saidMs + CUT_MS, `cut after ${cutMs} ms`);
    assert.match((await open(first, 'carol', tokenOf('carol'))).head, /^HTTP\/1\.1 403 /);
  });
});
