import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'node:test';
import { connectThrough, claimedBy, eventually, World } from '../testing/world.ts';
import { Pacer } from './pacer.ts';

const KIB = 1_024;
const order = { user: 'alice', source: '192.0.2.1:4000', leaf: 'berlin', hops: 0 };

test('a lane is held in one turn of the event loop and told to go in the next', async () => {
  const pacer = new Pacer({ perUser: {}, perLeaf: {} });
  let gone = 0;
  const lane = pacer.lane(order)(() => (gone += 1));
  let reads = 1;
  while (lane.passed(64 * KIB)) reads += 1;
  assert.ok(reads >= 4 && reads <= 6, `${reads} reads in one turn`);
  assert.equal(gone, 0);
  await nextTurn();
  await nextTurn();
  assert.equal(gone, 1);
  lane.close();
});

test('a closed lane is told nothing more, and holds nobody', async () => {
  const pacer = new Pacer({ perUser: { bytesPerSecond: 64 * KIB }, perLeaf: {} });
  const lane = pacer.lane(order)(() => assert.fail('it was told to go'));
  while (lane.passed(64 * KIB));
  lane.close();
  lane.close();
  assert.equal(lane.passed(64 * KIB), true);
  await nextTurn();
  await nextTurn();
  assert.equal(pacer.status().waiting, 0);
});

test('forwarded connections do not count for their user again', () => {
  const pacer = new Pacer({ perUser: { bytesPerSecond: 64 * KIB }, perLeaf: {} });
  const forwarded = pacer.lane({ ...order, hops: 1 })(() => undefined);
  assert.equal(forwarded.passed(64 * KIB), true);
  assert.equal(forwarded.passed(64 * KIB), true);
  forwarded.close();
});

test('a user with a rate gets all its bytes, at that rate', async (t) => {
  const world = await World.create();
  t.after(() => world.close());
  await world.node('source', (socket) => void socket.end(Buffer.alloc(600_000, 'x')));
  const share = { dialsPerSecond: 1_000, dialBurst: 1_000, connections: 1_000 };
  const limits = { perUser: { ...share, bytesPerSecond: 200_000 }, perLeaf: share };
  const proxy = await world.proxy('p1', { limits });
  await world.agent('berlin', 'a1');
  await eventually('claimed', () => claimedBy(proxy, 'a1'));
  const { client } = await connectThrough(proxy.ports.frontDoor, 'source.berlin:80');
  const since = performance.now();
  const { socket } = client;
  socket.resume();
  await new Promise((resolve) => void socket.once('end', resolve));
  const seconds = (performance.now() - since) / 1_000;
  socket.destroy();
  // 200,000 bytes at once, the last quantum before it is paid for, and the rest by the second.
  assert.ok(seconds >= (600_000 - 200_000 - 2 * 65_536) / 200_000 - 0.1, `it took ${seconds} s`);
  const text = await (await fetch(`http://127.0.0.1:${proxy.ports.ops}/metrics`)).text();
  const held = Number(/^xylem_held_back_seconds_total\{by="user".*\} (\S+)/m.exec(text)?.[1]);
  assert.ok(held > 0, `held back for ${held} s`);
});
