import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Identity } from '@xylem/identity';
import { firstOnly } from './testing/balancer.ts';
import { connectWithCertificate } from './testing/tls-door.ts';
import { claimedBy, connectThrough, eventually, World } from './testing/world.ts';

/** How long connections live, with certificates of seconds. */

const A1: Identity = { kind: 'agent', leaf: 'berlin', agent: 'a1' };
const P1: Identity = { kind: 'proxy', proxy: 'p1' };
const P2: Identity = { kind: 'proxy', proxy: 'p2' };

let world: World;

beforeEach(async () => {
  world = await World.create();
  await world.echoNode('web');
});
afterEach(() => world.close());

test('tunnels, direct and relayed, peers and sessions last through renewals; no tunnel is dropped', async () => {
  world.balancer.policy = firstOnly;
  world.credentials.ttlMs = 3_000;
  const [p1, p2] = [await world.proxy('p1'), await world.proxy('p2')];
  await world.agent('berlin', 'a1');
  const began = Date.now();
  const keeper = (async (): Promise<void> => {
    for (let renewal = 0; renewal < 20; renewal += 1) {
      await sleep(400);
      for (const identity of [A1, P1, P2]) await world.renew(identity);
    }
  })();
  await eventually('both are claimed', () => claimedBy(p1, 'a1') && claimedBy(p2, 'a1'));
  await eventually('the claims are recorded', () =>
    [p1, p2].every((p) => (p.status().root.tunnels[0]?.token ?? 0n) > 0n),
  );
  const tokens = [p1, p2].map((proxy) => proxy.status().root.tunnels[0]?.token);
  assert.ok(
    [p1, p2].some(({ log }) => log.some(({ event, via }) => event === 'tunnel.attached' && via !== undefined)),
    'one of the tunnels is relayed',
  );
  const users = await Promise.all(
    [p1, p2].map(async ({ ports }) => (await connectThrough(ports.frontDoor, 'web.berlin:80')).client),
  );
  let said = '';
  for (let round = 0; round < 18; round += 1) {
    const word = `<${round}>`;
    said += word;
    for (const user of users) user.say(word);
    for (const user of users) await user.hears(word);
    await sleep(400);
  }
  await keeper;
  assert.ok(Date.now() - began > 2 * world.credentials.ttlMs, 'the first certificates are long over');
  for (const user of users) assert.ok(user.heard.endsWith(said));
  assert.deepEqual(
    [p1, p2].map((proxy) => proxy.status().root.tunnels[0]?.token),
    tokens,
  );
  for (const { log } of [p1, p2]) {
    const lost = log.filter(
      ({ event }) => event === 'tunnel.closed' || event === 'peer.lost' || event === 'registry.lost',
    );
    assert.deepEqual(lost, []);
  }
});

test('an agent that cannot renew is cut when its certificate is over, with GOODBYE, and cannot come back', async () => {
  const p1 = await world.proxy('p1', { overrides: { lifetime: { graceMs: 1_000 } } });
  world.credentials.ttlMs = 2_000;
  const agent = await world.agent('berlin', 'a1');
  await eventually('p1 is claimed', () => claimedBy(p1, 'a1'));
  const { client } = await connectThrough(p1.ports.frontDoor, 'web.berlin:80');
  const failed = once(client.socket, 'error', { signal: AbortSignal.timeout(10_000) });
  assert.equal((await failed)[0].code, 'ECONNRESET');
  const closed = await eventually('the tunnel is closed', () => p1.log.find(({ event }) => event === 'tunnel.closed'));
  assert.equal(closed['cause'], 'expired');
  assert.equal(closed['graceful'], true);
  assert.equal(p1.status().root.tunnels.length, 0);
  assert.equal(
    agent.status().entries.some(({ state }) => state === 'claimed'),
    false,
  );
  await eventually('the next attempt is refused', () => p1.log.find(({ event }) => event === 'handshake.failed'));
  assert.equal(p1.status().root.tunnels.length, 0);
});

test("a front door connection is reset when its user's certificate has been over for the grace", async (t) => {
  const p1 = await world.proxy('p1', { overrides: { lifetime: { graceMs: 500 } } });
  await world.agent('berlin', 'a1');
  await eventually('p1 is claimed', () => claimedBy(p1, 'a1'));
  world.credentials.ttlMs = 1_500;
  const began = Date.now();
  const ada = await world.credentials.material({ kind: 'user', user: 'ada' });
  const { client, head } = await connectWithCertificate(t, p1, ada);
  assert.match(head, /^HTTP\/1\.1 200 /);
  await new Promise((resolve) => void client.socket.once('close', resolve));
  const tookMs = Date.now() - began;
  assert.ok(tookMs >= 1_500 && tookMs < 4_500, `${tookMs} ms`);
  const closed = await eventually('the log line', () => p1.log.find(({ event }) => event === 'connection.closed'));
  assert.equal(closed['kind'], 'reset');
});
