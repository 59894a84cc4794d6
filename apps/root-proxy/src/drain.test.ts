import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, beforeEach, test } from 'node:test';
import { firstOnly, roundRobin } from './testing/balancer.ts';
import { RawClient } from './testing/raw-client.ts';
import { claimedBy, connectThrough, eventually, World } from './testing/world.ts';

let world: World;

beforeEach(async () => {
  world = await World.create();
  await world.echoNode('web');
});
afterEach(() => world.close());

test('a drain is announced before anything closes, and an open connection finishes', async () => {
  const [p1, p2] = [await world.proxy('p1'), await world.proxy('p2')];
  const agent = await world.agent('berlin', 'a1');
  await eventually('both are claimed', () => claimedBy(p1, 'a1') && claimedBy(p2, 'a1'));
  const { client } = await connectThrough(p1.ports.frontDoor, 'web.berlin:80');
  const stopped = p1.stop();
  await eventually('the agent knows', () =>
    agent.status().entries.some(({ proxy, state }) => proxy === 'p1' && state === 'draining'),
  );
  await assert.rejects(RawClient.connect(p1.ports.frontDoor), /ECONNREFUSED/);
  client.say('still served');
  await client.hears('still served');
  client.socket.end();
  assert.ok((await client.closes()).endsWith('still served'));
  await stopped;
  await eventually('p2 saw it leave', () => !p2.status().peers.includes('p1'));
  assert.equal(p1.log.find(({ event }) => event === 'drain.finished')?.['cutConnections'], 0);
});

test('connections that are open at the drain deadline are reset', async () => {
  const proxy = await world.proxy('p1', { drain: { spreadMs: 10, deadlineMs: 300 } });
  await world.agent('berlin', 'a1');
  await eventually('p1 is claimed', () => claimedBy(proxy, 'a1'));
  const { client } = await connectThrough(proxy.ports.frontDoor, 'web.berlin:80');
  const failed = once(client.socket, 'error', { signal: AbortSignal.timeout(5_000) });
  await proxy.stop();
  assert.equal((await failed)[0].code, 'ECONNRESET');
  assert.equal(proxy.log.find(({ event }) => event === 'drain.finished')?.['cutConnections'], 1);
});

test('a proxy without tunnels and connections leaves at once', async () => {
  const proxy = await world.proxy('p1');
  await eventually('registered', () => proxy.status().registry.state === 'connected');
  const startedAt = performance.now();
  await proxy.stop();
  assert.ok(performance.now() - startedAt < 5_000);
});

test('tunnels that a draining proxy relays find another way, and what they carry finishes first', async () => {
  world.balancer.policy = firstOnly;
  const [p1, p2] = [await world.proxy('p1', { drain: { spreadMs: 10, deadlineMs: 20_000 } }), await world.proxy('p2')];
  const agent = await world.agent('berlin', 'a1');
  await eventually('both are claimed', () => claimedBy(p1, 'a1') && claimedBy(p2, 'a1'));
  assert.equal(p1.status().relays, 1);
  const { client } = await connectThrough(p2.ports.frontDoor, 'web.berlin:80');
  world.balancer.policy = roundRobin;
  world.balancer.backends = [p2.ports.tunnel];
  const stopped = p1.stop();
  await eventually('p2 is held directly while the relayed tunnel still carries', () =>
    agent.status().entries.some(({ proxy, state, via }) => proxy === 'p2' && state === 'claimed' && via === undefined),
  );
  client.say('still served');
  await client.hears('still served');
  client.socket.end();
  assert.ok((await client.closes()).endsWith('still served'));
  await stopped;
  assert.ok(!p2.log.some((line) => line['cause'] === 'relay-leaving'), 'nobody had to be sent off');
});
