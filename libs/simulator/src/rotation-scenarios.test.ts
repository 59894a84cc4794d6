/**
 * What Teleport's own tests do to its root proxies and agents, done to ours: every safety promise is checked after each step,
 * and at the end everything must be whole again (docs/SIMULATION.md lists which scenario is where).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Checkers } from './checkers.ts';
import { notConverged } from './convergence.ts';
import type { ProxyProcess } from './proxy-process.ts';
import { KeyedRandom } from './random.ts';
import { World } from './world.ts';
import type { WorldOptions } from './world.ts';

const SETTLED_MS = 5_000;
const DRAIN_SPREAD_MS = 1_000;
const DRAIN_DEADLINE_MS = 20_000;
/** The lease of a proxy that died (10 s), and one backoff. */
const HEALED_MS = 20_000;

/** A deployment under a test's direction. Every step is checked; a broken promise fails the test at once. */
class Scene {
  readonly world: World;
  readonly #checkers: Checkers;

  constructor(options: Partial<WorldOptions> & Pick<WorldOptions, 'proxies'>) {
    this.world = new World({
      seed: 1,
      registries: 2,
      leaves: { berlin: 2, tokyo: 1 },
      balancer: 'round-robin',
      steering: 'sni',
      ...options,
    });
    this.#checkers = new Checkers(this.world);
  }

  runFor(ms: number): void {
    const until = this.world.now + ms;
    while (this.world.scheduler.step(until)) {
      this.#checkers.afterStep();
      assert.equal(this.#checkers.violation, undefined, JSON.stringify(this.#checkers.violation));
    }
  }

  /** Milliseconds until everything is as promised; fails when that takes longer than `limitMs`. */
  untilWhole(limitMs: number): number {
    const from = this.world.now;
    while (notConverged(this.world) !== undefined) {
      assert.ok(this.world.now - from < limitMs, `after ${String(limitMs)} ms: ${String(notConverged(this.world))}`);
      this.runFor(50);
    }
    return this.world.now - from;
  }

  /** SIGTERM, and the end of the process once it has drained. */
  drain(proxy: ProxyProcess): { ended: boolean } {
    const state = { ended: false };
    const deadline = this.world.now + DRAIN_DEADLINE_MS;
    const end = (): void => {
      if (state.ended) return;
      // As the real process does: what it relays for others finishes first.
      const relays = this.world.network.connections().some(({ through }) => through === proxy.host);
      if (relays && this.world.now < deadline) return void this.world.scheduler.after(50, end);
      state.ended = true;
      this.world.crash(proxy);
    };
    proxy.drain(DRAIN_SPREAD_MS, DRAIN_DEADLINE_MS, end);
    return state;
  }

  /** Live proxies that this leaf cluster holds, as the proxies themselves see it. */
  heldBy(leaf: string): number {
    return this.world.liveProxies().filter((proxy) => holds(proxy, leaf)).length;
  }

  dials(): number {
    return [...this.world.agents.values()].reduce((sum, agent) => sum + agent.dialsMade, 0);
  }

  pool(): number {
    return Math.max(
      ...[...this.world.agents.values()].map(
        ({ brain }) => brain?.status().entries.filter(({ state }) => state !== 'gone').length ?? 0,
      ),
    );
  }
}

/** Recorded or not: after its tunnel was replaced a claim is recorded anew. */
function holds(proxy: ProxyProcess, leaf: string): boolean {
  const claims = proxy.root?.status().tunnels.filter(({ state }) => state === 'claimed' || state === 'provisional');
  return claims?.some((tunnel) => tunnel.leaf === leaf) === true;
}

test('rolling replacement of all eight proxies, replacement first: no leaf cluster is ever without a claimed proxy', () => {
  const scene = new Scene({ proxies: 8 });
  scene.untilWhole(SETTLED_MS);
  for (const old of [...scene.world.proxies.values()]) {
    scene.world.addProxy();
    scene.untilWhole(SETTLED_MS);
    const state = scene.drain(old);
    while (!state.ended) {
      scene.runFor(50);
      for (const leaf of ['berlin', 'tokyo'])
        assert.ok(scene.heldBy(leaf) >= 7, `${leaf} holds ${String(scene.heldBy(leaf))} of 8`);
    }
    scene.untilWhole(SETTLED_MS);
  }
  scene.runFor(60_000);
  assert.equal(scene.pool(), 8, 'nobody remembers the old ones as more than gone');
});

for (const balancer of ['round-robin', 'first', 'source-hash', 'flow-hash', 'sni'] as const) {
  test(`a new generation is reached while the old one still serves, behind ${balancer}`, () => {
    const scene = new Scene({ proxies: 4, balancer });
    scene.untilWhole(SETTLED_MS);
    const old = [...scene.world.proxies.values()];
    const before = scene.dials();
    const fresh = Array.from({ length: 4 }, () => scene.world.addProxy(1));
    const took = scene.untilWhole(SETTLED_MS);
    assert.ok(took < 1_500, `${String(took)} ms from four processes that start to all of them claimed`);
    assert.equal(scene.heldBy('berlin'), 8, 'both generations serve');
    const dials = scene.dials() - before;
    assert.ok(
      dials <= 3 * (4 + 4),
      `${String(dials)} dials: one for each agent and new proxy, and few where news raced`,
    );
    const ends = old.map((proxy) => scene.drain(proxy));
    for (let waited = 0; waited < DRAIN_DEADLINE_MS && ends.some(({ ended }) => !ended); waited += 50) {
      scene.runFor(50);
      assert.ok(
        fresh.every((proxy) => holds(proxy, 'tokyo')),
        'the new ones serve throughout',
      );
    }
    // A balancer that keeps a flow with a backend that stopped listening leaves its agents no other way before that ends.
    if (balancer !== 'flow-hash')
      assert.ok(
        ends.every(({ ended }) => ended),
        'the old ones end before their deadline',
      );
    scene.untilWhole(SETTLED_MS);
    assert.equal(scene.heldBy('berlin'), 4);
  });
}

test('sixteen proxies with lives of 0 to 16 s, each replaced when it dies: whole again once they are let be', () => {
  const scene = new Scene({ proxies: 16, leaves: { berlin: 2 } });
  const random = new KeyedRandom(1, 'lives');
  const live = (proxy: ProxyProcess): void => {
    scene.world.scheduler.after(random.between('life', 0, 16_000), () => {
      if (scene.world.now > 25_000) return;
      scene.world.crash(proxy);
      live(scene.world.addProxy());
    });
  };
  for (const proxy of [...scene.world.proxies.values()]) live(proxy);
  scene.runFor(26_000);
  scene.untilWhole(HEALED_MS);
  scene.runFor(15_000);
  assert.equal(scene.pool(), 16);
});

test('six rounds of "kill the only proxy, start another": each is claimed at once', () => {
  const scene = new Scene({ proxies: 1 });
  scene.untilWhole(SETTLED_MS);
  for (let round = 0; round < 6; round += 1) {
    const [only] = scene.world.liveProxies();
    if (only !== undefined) scene.world.crash(only);
    scene.runFor(500);
    scene.world.addProxy();
    scene.untilWhole(HEALED_MS);
  }
});

test('a proxy that the balancer leaves out is reached all the same, and directly once it is back', () => {
  const scene = new Scene({ proxies: 3, balancer: 'sni', leaves: { berlin: 1 } });
  scene.world.outOfRotation.add('p2');
  scene.untilWhole(SETTLED_MS);
  const via = (): string | undefined =>
    scene.world.agents
      .get('berlin-1')
      ?.brain?.status()
      .entries.find(({ proxy }) => proxy === 'p2')?.via;
  assert.notEqual(via(), undefined, 'relayed by a proxy that the balancer does reach');
  scene.world.outOfRotation.delete('p2');
  scene.runFor(200_000);
  assert.equal(via(), undefined, 'replaced by a direct tunnel');
  assert.equal(notConverged(scene.world), undefined);
});

test('the only proxy is taken out of the balancer and put back: the agent waits, and does not give up', () => {
  const scene = new Scene({ proxies: 1, leaves: { berlin: 1 } });
  scene.world.outOfRotation.add('p1');
  scene.runFor(120_000);
  assert.equal(scene.heldBy('berlin'), 0);
  assert.ok(scene.dials() < 60, `${String(scene.dials())} dials in two minutes`);
  scene.world.outOfRotation.clear();
  assert.ok(scene.untilWhole(9_000) <= 8_500);
});

test('a proxy drains while users dial over it: every dial is served, and its tunnels end by themselves', () => {
  const scene = new Scene({ proxies: 3 });
  scene.untilWhole(SETTLED_MS);
  const [victim] = scene.world.liveProxies();
  assert.ok(victim);
  const lost: string[] = [];
  scene.world.trace.onLine = ({ what }) => {
    if (/^closes .*: (drain-deadline|claim-lost)/.test(what)) lost.push(what);
  };
  const state = scene.drain(victim);
  scene.runFor(DRAIN_DEADLINE_MS);
  assert.ok(state.ended);
  assert.deepEqual(lost, []);
  scene.untilWhole(SETTLED_MS);
});

test('five hundred leaf clusters claim every proxy, each once, with as many dials as there are proxies', () => {
  const leaves = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`leaf${String(index)}`, 1]));
  const world = new World({ seed: 1, registries: 2, proxies: 4, leaves: {}, balancer: 'first', steering: 'sni' });
  world.quiet = true;
  world.run(SETTLED_MS);
  for (const leaf of Object.keys(leaves)) world.addAgent(leaf, `${leaf}-1`);
  world.run(world.now + 10_000);
  for (const proxy of world.liveProxies()) {
    const claims = proxy.root?.status().tunnels.filter(({ state }) => state === 'claimed') ?? [];
    assert.equal(new Set(claims.map(({ leaf }) => leaf)).size, 500, proxy.id);
    assert.equal(claims.length, 500, proxy.id);
  }
  const most = Math.max(...[...world.agents.values()].map(({ dialsMade }) => dialsMade));
  const all = [...world.agents.values()].reduce((sum, { dialsMade }) => sum + dialsMade, 0);
  assert.ok(all <= 500 * 4 * 1.1, `${String(all)} dials, ${String(most)} by one agent`);
});
