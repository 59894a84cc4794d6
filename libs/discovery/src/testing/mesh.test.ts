import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StrategyName } from '../strategies.ts';
import { Mesh, type MeshOptions } from './mesh.ts';

type Agent = ReturnType<Mesh['addAgent']>;

function liveProxies(mesh: Mesh): string[] {
  const live = [...mesh.proxies.values()].filter((proxy) => proxy.alive && proxy.state === 'ready');
  return live.map((proxy): string => proxy.id).sort();
}

function servesAll(mesh: Mesh, ...agents: Agent[]): boolean {
  const claimed = agents.flatMap((agent) => mesh.claimedBy(agent)).sort();
  return claimed.join() === liveProxies(mesh).join();
}

function meshOf(count: number, options: MeshOptions = {}): Mesh {
  const mesh = new Mesh(options);
  for (let index = 0; index < count; index += 1) mesh.addProxy(`p${index}`);
  return mesh;
}

/** Gossip as in FAULTS.md: up to 3 s late, 10 % lost, 10 % twice. */
function badGossip(random: { next(site: string): number }): readonly number[] {
  const delay = (): number => Math.floor(random.next('delay') * 4_000);
  const fate = random.next('fate');
  return fate < 0.1 ? [] : fate < 0.2 ? [delay(), delay()] : [delay()];
}

/** One proxy is killed and another comes, every 5 s. */
function rotate(mesh: Mesh, rounds: number): void {
  for (let round = 0; round < rounds; round += 1) {
    const oldest = liveProxies(mesh)[0];
    if (oldest !== undefined) mesh.killProxy(oldest);
    mesh.addProxy(`q${String(round).padStart(5, '0')}`);
    mesh.runUntil(mesh.now + 3_000);
    if (oldest !== undefined) mesh.forget(oldest);
    mesh.runUntil(mesh.now + 2_000);
  }
}

const BALANCERS: Readonly<Record<string, MeshOptions['balancer']>> = {
  'round robin': undefined,
  'first only': (_attempt, live) => live[0],
  'sticky to the last': (_attempt, live) => live.at(-1),
  'round robin, two connections an attempt': (attempt, live) => live[(2 * attempt) % Math.max(1, live.length)],
};

for (const [name, balancer] of Object.entries(BALANCERS)) {
  test(`a steered agent claims 10 proxies with 10 dials behind a balancer that is ${name}`, () => {
    const mesh = meshOf(10, balancer === undefined ? {} : { balancer });
    const agent = mesh.addAgent('berlin', 'a1');
    const took = mesh.runWhile(() => servesAll(mesh, agent), 5_000);
    assert.equal(mesh.attempts, 10);
    assert.ok(took < 50, `took ${took} ms`);
  });
}

test('an unsteered agent claims every proxy behind a fair balancer, then dials no more', () => {
  const mesh = meshOf(10, { leaf: { steering: 'off' } });
  const agent = mesh.addAgent('berlin', 'a1');
  mesh.runWhile(() => servesAll(mesh, agent), 60_000);
  const before = mesh.attempts;
  mesh.runUntil(mesh.now + 600_000);
  assert.equal(mesh.attempts, before);
});

test('an agent whose steering nobody honours finds every proxy by chance', () => {
  const mesh = meshOf(5, { relay: false });
  const agent = mesh.addAgent('berlin', 'a1');
  mesh.runWhile(() => servesAll(mesh, agent), 120_000);
});

test('a proxy that is added is claimed within half a second, with one dial', () => {
  const mesh = meshOf(10);
  const agent = mesh.addAgent('berlin', 'a1');
  mesh.runUntil(5_000);
  const before = mesh.attempts;
  mesh.addProxy('x');
  assert.ok(mesh.runWhile(() => servesAll(mesh, agent), 5_000) < 500);
  assert.equal(mesh.attempts, before + 1);
});

test('all claimed means no dials at all for an hour, but direct tries of relayed tunnels, which grow rare', () => {
  const mesh = meshOf(5);
  const agent = mesh.addAgent('berlin', 'a1');
  mesh.runUntil(1_000);
  const start = mesh.attempts;
  mesh.runUntil(3_600_000);
  const relayed = agent.core.status().entries.filter(({ via }) => via !== undefined).length;
  assert.ok(mesh.attempts - start <= 60, `${mesh.attempts - start} dials in an hour`);
  assert.equal(relayed, 0, 'chance makes every tunnel direct in time');
  const settled = mesh.attempts;
  mesh.runUntil(7_200_000);
  assert.equal(mesh.attempts, settled);
});

test('behind a balancer that prefers one proxy direct tunnels are tried once an hour, until the balancer changes', () => {
  let sticky = true;
  const mesh = meshOf(10, { balancer: (attempt, live) => live[sticky ? 0 : attempt % live.length] });
  const agent = mesh.addAgent('berlin', 'a1');
  mesh.runUntil(10_000);
  assert.equal(mesh.attempts, 10);
  mesh.runUntil(8 * 3_600_000);
  assert.ok(mesh.attempts <= 10 + 8, `${mesh.attempts - 10} direct tries in eight hours`);
  sticky = false;
  mesh.runUntil(16 * 3_600_000);
  const relayed = agent.core.status().entries.filter(({ via }) => via !== undefined).length;
  assert.ok(relayed < 5, `${relayed} of 9 still relayed: trying resumes where it helps`);
});

test('two agents share the proxies, and the survivor takes over within 0.2 s when one is killed', () => {
  const mesh = meshOf(3);
  const one = mesh.addAgent('berlin', 'a1');
  const two = mesh.addAgent('berlin', 'a2');
  mesh.runUntil(1_000);
  assert.ok(servesAll(mesh, one, two));
  const before = mesh.attempts;
  mesh.killAgent('berlin', 'a1-1');
  assert.ok(mesh.runWhile(() => servesAll(mesh, two), 1_000) < 200);
  assert.equal(mesh.attempts, before, 'promotion needs no dial');
});

test('more agents than standbys: those turned away look again and take over in the end', () => {
  const mesh = meshOf(2, { root: { maxStandbysPerLeaf: 1 } });
  const names = ['a1', 'a2', 'a3', 'a4'];
  const agents = names.map((name) => mesh.addAgent('berlin', name));
  mesh.runUntil(2_000);
  for (const name of names.slice(0, 3)) mesh.killAgent('berlin', `${name}-1`);
  mesh.runWhile(() => servesAll(mesh, ...agents.slice(3)), 35_000);
});

test('leaf clusters do not see each other: each claims every proxy', () => {
  const mesh = meshOf(3);
  const agents = ['berlin', 'tokyo', 'oslo'].map((leaf) => mesh.addAgent(leaf, 'a1'));
  mesh.runUntil(1_000);
  for (const agent of agents) assert.ok(servesAll(mesh, agent));
});

test('a drained proxy is left after its replacement is claimed', () => {
  const mesh = meshOf(3);
  const agent = mesh.addAgent('berlin', 'a1');
  mesh.runUntil(1_000);
  mesh.drainProxy('p0', 100, 5_000);
  mesh.addProxy('x');
  mesh.runUntil(2_000);
  assert.deepEqual(mesh.claimedBy(agent), ['p1', 'p2', 'x']);
  assert.deepEqual(liveProxies(mesh), ['p1', 'p2', 'x']);
});

test('a lone proxy that drains is kept until its replacement has come', () => {
  const mesh = meshOf(1);
  const agent = mesh.addAgent('berlin', 'a1');
  mesh.runUntil(1_000);
  mesh.drainProxy('p0', 0, 30_000);
  mesh.runUntil(11_000);
  assert.equal(agent.core.status().entries[0]?.state, 'draining');
  assert.notEqual(agent.core.status().entries[0]?.tunnel, undefined);
  mesh.addProxy('x');
  mesh.runWhile(() => servesAll(mesh, agent), 8_000);
});

test('a killed proxy is sought until its record lapses, then never again', () => {
  const mesh = meshOf(3);
  const agent = mesh.addAgent('berlin', 'a1');
  mesh.runUntil(1_000);
  mesh.killProxy('p1');
  mesh.runUntil(11_000);
  mesh.forget('p1');
  mesh.runUntil(12_000);
  assert.ok(servesAll(mesh, agent));
  assert.equal(agent.core.status().wanted, 0);
});

test('six rounds of "kill the only proxy, start another" are each survived within 8 s', () => {
  const mesh = meshOf(1);
  const agent = mesh.addAgent('berlin', 'a1');
  mesh.runUntil(1_000);
  for (let round = 0; round < 6; round += 1) {
    mesh.killProxy(round === 0 ? 'p0' : `r${round - 1}`);
    mesh.runUntil(mesh.now + 1_000);
    mesh.forget(round === 0 ? 'p0' : `r${round - 1}`);
    mesh.addProxy(`r${round}`);
    mesh.runWhile(() => servesAll(mesh, agent), 8_000);
  }
});

test('all tunnels lost at once: agents come back spread out, every one within 30 s', () => {
  const mesh = meshOf(3);
  const agents = Array.from({ length: 40 }, (_, index) => mesh.addAgent(`leaf${index}`, 'a1'));
  mesh.runUntil(2_000);
  const attempts = mesh.attempts;
  mesh.cutAll();
  mesh.runUntil(mesh.now + 250);
  assert.ok(mesh.attempts - attempts < 20, `${mesh.attempts - attempts} dials in the first quarter second`);
  mesh.runWhile(() => agents.every((agent) => servesAll(mesh, agent)), 30_000);
});

test('without any registry agents find proxies by probing, and learn of the others when it is back', () => {
  const mesh = new Mesh();
  mesh.registryUp = false;
  for (const name of ['a', 'b', 'c']) mesh.addProxy(name);
  const agent = mesh.addAgent('berlin', 'a1');
  mesh.runUntil(10_000);
  assert.equal(agent.core.status().claimed, 1);
  mesh.runUntil(600_000);
  assert.equal(agent.core.status().claimed, 3, 'one probe in a minute or two reaches all in time');
  assert.ok(mesh.attempts < 15, `${mesh.attempts} dials`);
});

for (const seed of [1, 2, 3, 4, 5]) {
  test(`rotation with lost, late, repeated and reordered gossip (seed ${seed}): converges, stays small, falls silent`, () => {
    const mesh = meshOf(4, { seed });
    const agent = mesh.addAgent('berlin', 'a1');
    mesh.gossipFault = badGossip;
    rotate(mesh, 60);
    mesh.gossipFault = undefined;
    mesh.runWhile(() => servesAll(mesh, agent), 30_000);
    assert.ok(agent.core.status().entries.length <= 4 + 36 + 4, `${agent.core.status().entries.length} entries`);
    mesh.runUntil(mesh.now + 200_000);
    assert.equal(agent.core.status().wanted, 0);
    assert.deepEqual(
      agent.core.status().entries.map(({ proxy }): string => proxy),
      liveProxies(mesh),
    );
  });
}

/** How many of ten rotations under bad gossip end with every live proxy claimed, and how large the pool was. */
function tryStrategy(strategy: StrategyName): { converged: number; pool: number; wanted: number } {
  const result = { converged: 0, pool: 0, wanted: 0 };
  for (let seed = 1; seed <= 10; seed += 1) {
    const mesh = meshOf(4, { seed, strategy, leaf: { steering: 'off' } });
    const agent = mesh.addAgent('berlin', 'a1');
    mesh.gossipFault = badGossip;
    rotate(mesh, 40);
    mesh.runUntil(mesh.now + 60_000);
    if (servesAll(mesh, agent)) result.converged += 1;
    const status = agent.core.status();
    result.pool = Math.max(result.pool, status.entries.length);
    result.wanted = Math.max(result.wanted, status.wanted);
  }
  return result;
}

test('beside it: a grow-only pool keeps every proxy that ever was and dials for ever, an expiring one for three minutes', () => {
  const ours = tryStrategy('stamped');
  assert.deepEqual([ours.converged, ours.wanted], [10, 0]);
  const growing = tryStrategy('grow-only');
  assert.ok(growing.pool >= 40 && growing.wanted >= 30, JSON.stringify(growing));
  const expiring = tryStrategy('expiry');
  assert.ok(expiring.wanted > 0 && expiring.pool < 48, JSON.stringify(expiring));
});
