import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { DOMAIN } from '../testing/credentials.ts';
import { claimedBy, eventually, World } from '../testing/world.ts';
import type { WorldProxy } from '../testing/world.ts';

const PLENTY = { dialsPerSecond: 10_000, dialBurst: 10_000, connections: 10_000 };
const BUSY = 'ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR';

let world: World;

before(async () => {
  world = await World.create((_connection, backends) => backends.at(-1));
});
after(() => world.close());

function limited(id: string, handshakesPerSecond: number): Promise<WorldProxy> {
  return world.proxy(id, { limits: { perUser: PLENTY, perLeaf: PLENTY, handshakesPerSecond } });
}

/** So many clients at once on `port`, asking for root proxy `name`; answers with how each of them failed. */
async function herd(port: number, name: string, count: number): Promise<{ failures: string[]; clients: TLSSocket[] }> {
  const agent = await world.credentials.material({ kind: 'agent', leaf: 'berlin', agent: 'a1' });
  const failures: string[] = [];
  const clients = Array.from({ length: count }, () => {
    const socket = tlsConnect({
      port,
      host: '127.0.0.1',
      ...agent,
      servername: `${name}.${DOMAIN}`,
      ALPNProtocols: ['h2'],
    });
    socket.on('error', (error: NodeJS.ErrnoException) => failures.push(error.code ?? error.message)).resume();
    return socket;
  });
  return { failures, clients };
}

function busyLines(proxy: WorldProxy): number {
  return proxy.log.filter((line) => line.event === 'handshake.failed' && line['cause'] === 'busy').length;
}

test('a herd beyond the line is told at once, before any handshake, that the root proxy is busy', async () => {
  const proxy = await limited('busy', 2);
  const { failures, clients } = await herd(proxy.ports.tunnel, 'busy', 30);
  // One a second and five seconds of patience: five or six wait, the others are turned away.
  await eventually('all others were turned away', () => failures.length >= 24);
  assert.deepEqual(new Set(failures), new Set([BUSY]));
  await eventually('each of them is in the log', () => busyLines(proxy) === failures.length);
  assert.ok(failures.length < 30, 'nobody was let in line');
  for (const client of clients) client.destroy();
  await proxy.kill();
});

test('a busy root proxy is told of through the one that relays, too', async () => {
  const target = await limited('target', 2);
  const relaying = await world.proxy('relaying');
  await eventually('relaying knows target', () => relaying.status().peers.includes('target'));
  const { failures, clients } = await herd(relaying.ports.tunnel, 'target', 30);
  await eventually('the line of target is full', () => failures.length >= 24);
  assert.deepEqual(new Set(failures), new Set([BUSY]));
  assert.equal(busyLines(relaying), 0);
  for (const client of clients) client.destroy();
  await target.kill();
  await relaying.kill();
});

test('agents that were cut at once come back at the rate allowed, all of them, and take busy for no evidence', async () => {
  const proxy = await limited('p1', 10);
  const count = 60;
  const names = Array.from({ length: count }, (_, index) => `agent-${index}`);
  const agents = await Promise.all(
    names.map((name) => world.agent(`leaf-${name}`, name, { discovery: { redialSpreadMs: 0 } })),
  );
  const all = (): boolean => names.every((name) => claimedBy(proxy, name));
  await eventually('every agent has its claim', all, 60_000);
  const opened = (): number => proxy.log.filter((line) => line.event === 'tunnel.attached').length;
  const already = opened();
  const cutAt = performance.now();
  world.balancer.cutAll();
  await eventually('the cut was noticed', () => !all());
  await eventually('every agent is back', () => opened() >= already + count && all(), 60_000);
  const tookMs = performance.now() - cutAt;
  // Two of a burst, then eight a second.
  assert.ok(tookMs >= 6_500, `60 handshakes took ${tookMs.toFixed(0)} ms: more than 10 a second`);
  assert.ok(busyLines(proxy) > 0, 'the herd was too small to be shed');
  const dials = agents.map((agent) => agent.status().dialsTotal);
  assert.ok(Math.max(...dials) < 20, `an agent dialled ${Math.max(...dials)} times`);
  const problems = agents.flatMap((agent) => agent.status().problem ?? []);
  assert.deepEqual(problems, []);
});
