import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { claimedBy, connectThrough, eventually, World } from './testing/world.ts';
import type { ProxyChanges, WorldProxy } from './testing/world.ts';

/** Bounds of docs/LIMITS.md that only a whole root proxy shows, made small. */

async function served(t: TestContext, changes: ProxyChanges): Promise<{ world: World; proxy: WorldProxy }> {
  const world = await World.create();
  t.after(() => world.close());
  await world.echoNode('echo');
  const proxy = await world.proxy('p1', changes);
  await world.agent('berlin', 'a1');
  await eventually('claimed', () => claimedBy(proxy, 'a1'));
  return { world, proxy };
}

test('beyond its connections a root proxy says so, and serves again when one has ended', async (t) => {
  const { proxy } = await served(t, { overrides: { maxOpen: 3 } });
  const dial = () => connectThrough(proxy.ports.frontDoor, 'echo.berlin:80');
  const open = await Promise.all([dial(), dial(), dial()]);
  for (const { head } of open) assert.match(head, /^HTTP\/1\.1 200 /);
  const { head } = await dial();
  assert.match(head, /^HTTP\/1\.1 503 .*Xylem-Outcome: overloaded\r\n/s);
  const [first] = open;
  first?.client.say('still served');
  await first?.client.hears('still served');
  first?.client.socket.destroy();
  await eventually('there is room', () => proxy.log.some(({ event }) => event === 'connection.closed'));
  assert.match((await dial()).head, /^HTTP\/1\.1 200 /);
});

test('beyond its tunnels a root proxy sends agents away for a while, and keeps those it has', async (t) => {
  const { world, proxy } = await served(t, { overrides: { maxTunnels: 1 } });
  await world.agent('tokyo', 'b1');
  const refused = await eventually('refused', () => proxy.log.find(({ event }) => event === 'tunnel.refused'));
  assert.match(String(refused['detail']), /root proxy p1 serves 1 tunnels/);
  assert.equal(claimedBy(proxy, 'a1'), true);
  const { head } = await connectThrough(proxy.ports.frontDoor, 'echo.berlin:80');
  assert.match(head, /^HTTP\/1\.1 200 /);
});

test('beyond its connections a leaf cluster is refused, and another one is served', async (t) => {
  const share = { dialsPerSecond: 1_000, dialBurst: 1_000, connections: 1_000 };
  const { world, proxy } = await served(t, { limits: { perUser: share, perLeaf: { ...share, connections: 2 } } });
  await world.agent('tokyo', 'b1');
  await eventually('claimed', () => claimedBy(proxy, 'b1'));
  const dial = async (leaf: string) => (await connectThrough(proxy.ports.frontDoor, `echo.${leaf}:80`)).head;
  const heads = [await dial('berlin'), await dial('berlin'), await dial('berlin'), await dial('tokyo')];
  assert.deepEqual(
    heads.map((head) => Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1])),
    [200, 200, 503, 200],
  );
});
