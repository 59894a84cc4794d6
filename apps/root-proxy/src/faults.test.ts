import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, beforeEach, test } from 'node:test';
import { firstOnly } from './testing/balancer.ts';
import { claimedBy, connectThrough, eventually, World } from './testing/world.ts';

let world: World;

beforeEach(async () => {
  world = await World.create();
  await world.echoNode('web');
});
afterEach(() => world.close());

test('the user sees a reset, never a clean end, when the root proxy dies', async () => {
  const proxy = await world.proxy('p1');
  await world.agent('berlin', 'a1');
  await eventually('p1 is claimed', () => claimedBy(proxy, 'a1'));
  const { client } = await connectThrough(proxy.ports.frontDoor, 'web.berlin:80');
  const failed = once(client.socket, 'error', { signal: AbortSignal.timeout(5_000) });
  await proxy.kill();
  const [error] = await failed;
  assert.equal(error.code, 'ECONNRESET');
});

test('the user sees a reset when the tunnel is lost, and the agent comes back', async () => {
  const proxy = await world.proxy('p1');
  await world.agent('berlin', 'a1');
  await eventually('p1 is claimed', () => claimedBy(proxy, 'a1'));
  const { client } = await connectThrough(proxy.ports.frontDoor, 'web.berlin:80');
  const failed = once(client.socket, 'error', { signal: AbortSignal.timeout(5_000) });
  const before = proxy.status().root.tunnels[0]?.token ?? 0n;
  world.balancer.cutAll();
  const [error] = await failed;
  assert.equal(error.code, 'ECONNRESET');
  await eventually('claimed again, with a greater token', () =>
    proxy.status().root.tunnels.some(({ token }) => token > before),
  );
});

test('a user at a proxy without a tunnel is forwarded to one that has it, in one hop', async () => {
  world.balancer.policy = firstOnly;
  const [p1, p2] = [await world.proxy('p1'), await world.proxy('p2')];
  await world.agent('berlin', 'a1', {}, 'off');
  await eventually('p1 is claimed', () => claimedBy(p1, 'a1'));
  await eventually('p2 knows of it', () => p2.status().dials.knownLeaves > 0 && p2.status().peers.includes('p1'));
  const { client, head } = await connectThrough(p2.ports.frontDoor, 'web.berlin:80');
  assert.match(head, /^HTTP\/1\.1 200 .*\r\nXylem-Via: p2, p1, a1\r\n/s);
  client.say('hello');
  await client.hears('hello');
  const failed = once(client.socket, 'error', { signal: AbortSignal.timeout(5_000) });
  await p1.kill();
  assert.equal((await failed)[0].code, 'ECONNRESET');
});

test('behind a balancer that knows one backend only, every proxy is claimed through a relay, and via says so', async () => {
  world.balancer.policy = firstOnly;
  const [p1, p2, p3] = [await world.proxy('p1'), await world.proxy('p2'), await world.proxy('p3')];
  const agent = await world.agent('berlin', 'a1');
  await eventually('all are claimed', () => claimedBy(p1, 'a1') && claimedBy(p2, 'a1') && claimedBy(p3, 'a1'));
  const via = new Map(agent.status().entries.map((entry) => [entry.proxy as string, entry.via as string | undefined]));
  assert.deepEqual([via.get('p1'), via.get('p2'), via.get('p3')], [undefined, 'p1', 'p1']);
  assert.equal(p1.status().relays, 2);
  const { client, head } = await connectThrough(p3.ports.frontDoor, 'web.berlin:80');
  assert.match(head, /^HTTP\/1\.1 200 .*\r\nXylem-Via: p3, a1\r\n/s);
  client.say('hello');
  await client.hears('hello');
  client.socket.destroy();
});

test('a second live instance with the same id is refused by name and disturbs nobody', async () => {
  const proxy = await world.proxy('p1');
  await world.agent('berlin', 'a1');
  await eventually('p1 is claimed', () => claimedBy(proxy, 'a1'));
  const { client } = await connectThrough(proxy.ports.frontDoor, 'web.berlin:80');
  await world.agent('berlin', 'a1');
  const refused = await eventually('the second is refused', () =>
    proxy.log.find((line) => line.event === 'tunnel.closed' && line['cause'] === 'duplicate-id'),
  );
  assert.match(String(refused['detail']), /agent berlin\/a1 is attached by live instance [0-9a-zA-Z_-]{8}/);
  assert.ok(claimedBy(proxy, 'a1'));
  client.say('still here');
  await client.hears('still here');
  client.socket.destroy();
});

test('a standby takes the claim over when its holder leaves', async () => {
  const proxy = await world.proxy('p1');
  const first = await world.agent('berlin', 'a1');
  await eventually('a1 holds p1', () => claimedBy(proxy, 'a1'));
  await world.agent('berlin', 'a2');
  await eventually('a2 stands by', () =>
    proxy.status().root.tunnels.some(({ state, agent }) => state === 'standby' && agent === 'a2'),
  );
  await first.stop();
  await eventually('a2 holds p1', () => claimedBy(proxy, 'a2'));
  assert.match((await connectThrough(proxy.ports.frontDoor, 'web.berlin:80')).head, /^HTTP\/1\.1 200 /);
});

test('answers 503 once the last agent of a leaf cluster has left', async () => {
  const proxy = await world.proxy('p1');
  const agent = await world.agent('berlin', 'a1');
  await eventually('p1 is claimed', () => claimedBy(proxy, 'a1'));
  await agent.stop();
  assert.match((await connectThrough(proxy.ports.frontDoor, 'web.berlin:80')).head, /^HTTP\/1\.1 503 .*leaf-offline/s);
});

test('dials, tunnels and new claims go on without a registry; claims are recorded when it is back', async () => {
  const proxy = await world.proxy('p1');
  await world.agent('berlin', 'a1');
  const before = await world.agent('tokyo', 't1');
  await eventually('p1 is claimed', () => claimedBy(proxy, 'a1') && claimedBy(proxy, 't1'));
  await before.stop();
  await world.registry?.kill();
  await eventually('the loss is noticed', () => proxy.status().registry.state !== 'connected');
  await world.agent('tokyo', 't1');
  await world.agent('paris', 'u1');
  await eventually('a provisional claim', () =>
    proxy.status().root.tunnels.some(({ agent, state }) => agent === 't1' && state === 'provisional'),
  );
  assert.match((await connectThrough(proxy.ports.frontDoor, 'web.tokyo:80')).head, /^HTTP\/1\.1 200 /);
  assert.match((await connectThrough(proxy.ports.frontDoor, 'web.berlin:80')).head, /^HTTP\/1\.1 200 /);
  await eventually('a claim of a leaf cluster that no registry has spoken of', () =>
    proxy.status().root.tunnels.some(({ agent, state }) => agent === 'u1' && state === 'provisional'),
  );
  const unspoken = await connectThrough(proxy.ports.frontDoor, 'web.paris:80');
  assert.match(unspoken.head, /^HTTP\/1\.1 503 .*there is no standing grant for leaf cluster paris/s);
  await world.startRegistry();
  await eventually('the claim is recorded', () => claimedBy(proxy, 't1'));
  await eventually('nothing is left to record', () => proxy.status().root.unrecorded === 0);
});

test('a forwarded connection outlives the leases of both its root proxies', async () => {
  world.balancer.policy = firstOnly;
  const [p1, p2] = [await world.proxy('p1'), await world.proxy('p2')];
  await world.agent('berlin', 'a1', {}, 'off');
  await eventually('p1 is claimed', () => claimedBy(p1, 'a1'));
  await eventually('p2 knows of it', () => p2.status().dials.knownLeaves > 0);
  const { client, head } = await connectThrough(p2.ports.frontDoor, 'web.berlin:80');
  assert.match(head, /Xylem-Via: p2, p1, a1/);
  await world.registry?.kill();
  await eventually('the leases of both are over', () =>
    [p1, p2].every((proxy) => proxy.status().registry.state === 'suspect'),
  );
  await world.startRegistry();
  await eventually('both have a session again', () =>
    [p1, p2].every((proxy) => proxy.status().registry.state === 'connected'),
  );
  await eventually('p2 sees p1 again', () => p2.status().peers.includes('p1'));
  await eventually('the claim is recorded anew', () => claimedBy(p1, 'a1'));
  client.say('still here');
  await client.hears('still here');
  client.socket.destroy();
});
