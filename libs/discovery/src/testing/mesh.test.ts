import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Mesh } from './mesh.ts';

function allClaimed(mesh: Mesh, agent: ReturnType<Mesh['addAgent']>): boolean {
  const live = [...mesh.proxies.values()]
    .filter((proxy) => proxy.alive && proxy.state === 'ready')
    .map((proxy) => proxy.id as string);
  return JSON.stringify(mesh.claimedBy(agent)) === JSON.stringify(live.sort());
}

test('a steered agent claims N proxies with N dials', () => {
  const mesh = new Mesh();
  for (let index = 0; index < 10; index += 1) mesh.addProxy(`p${index}`);
  const agent = mesh.addAgent('berlin', 'a1');
  const took = mesh.runWhile(() => allClaimed(mesh, agent), 5_000);
  assert.equal(mesh.attempts, 10);
  assert.ok(took < 50, `took ${took} ms`);
  mesh.runUntil(mesh.now + 20_000);
  assert.equal(mesh.attempts, 10);
});

test('an unsteered agent claims every proxy behind a fair balancer', () => {
  const mesh = new Mesh({ leaf: { steering: 'off' } });
  for (let index = 0; index < 10; index += 1) mesh.addProxy(`p${index}`);
  const agent = mesh.addAgent('berlin', 'a1');
  mesh.runWhile(() => allClaimed(mesh, agent), 60_000);
  const before = mesh.attempts;
  mesh.runUntil(mesh.now + 600_000);
  assert.equal(mesh.attempts, before);
});

test('two agents share the proxies, and the survivor takes over at once when one is killed', () => {
  const mesh = new Mesh();
  for (const name of ['a', 'b', 'c']) mesh.addProxy(name);
  const one = mesh.addAgent('berlin', 'a1');
  const two = mesh.addAgent('berlin', 'a2');
  mesh.runUntil(1_000);
  assert.equal(mesh.claimedBy(one).length + mesh.claimedBy(two).length, 3);
  mesh.killAgent('berlin', 'a1-1');
  const took = mesh.runWhile(() => allClaimed(mesh, two), 1_000);
  assert.ok(took < 200, `took ${took} ms`);
});

test('a drained proxy is left after its replacement is claimed', () => {
  const mesh = new Mesh();
  for (const name of ['a', 'b', 'c']) mesh.addProxy(name);
  const agent = mesh.addAgent('berlin', 'a1');
  mesh.runUntil(1_000);
  mesh.drainProxy('a', 100, 5_000);
  mesh.addProxy('d');
  mesh.runUntil(2_000);
  assert.deepEqual(mesh.claimedBy(agent), ['b', 'c', 'd']);
  assert.ok(![...mesh.proxies.keys()].join().includes('a'));
});

test('a killed proxy is sought until its record lapses, then never again', () => {
  const mesh = new Mesh();
  for (const name of ['a', 'b', 'c']) mesh.addProxy(name);
  const agent = mesh.addAgent('berlin', 'a1');
  mesh.runUntil(1_000);
  mesh.killProxy('b');
  mesh.runUntil(11_000);
  mesh.forget('b');
  mesh.runUntil(12_000);
  const dials = mesh.attempts;
  mesh.runUntil(100_000);
  assert.equal(mesh.attempts, dials);
  assert.deepEqual(mesh.claimedBy(agent), ['a', 'c']);
});
