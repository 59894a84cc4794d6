import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAgent } from '@xylem/discovery/strategies';
import type { StrategyName } from '@xylem/discovery/strategies';
import { BALANCER_POLICIES } from './balancer.ts';
import type { BalancerPolicy } from './balancer.ts';
import { chanceReachesAll, coldStart } from './compare-cold-start.ts';
import { oneChanged } from './compare-changes.ts';
import { rotation } from './compare-rotation.ts';
import type { Contestant } from './compare.ts';

type Entrant = Omit<Contestant, 'balancer' | 'proxies' | 'seed'>;

function entrant(strategy: StrategyName, steering: 'sni' | 'off'): Entrant {
  return { leaf: (config, host) => createAgent(strategy, config, host.random, host.now), steering };
}

const OURS = entrant('stamped', 'sni');
const UNSTEERED = entrant('stamped', 'off');

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Dials of cold starts under `seeds` seeds, each of which must reach every proxy. */
function dialsOf(who: Entrant, balancer: BalancerPolicy, proxies: number, seeds: number): readonly number[] {
  return Array.from({ length: seeds }, (_, seed) => {
    const { meshMs, dials } = coldStart({ ...who, balancer, proxies, seed });
    assert.notEqual(meshMs, undefined, `seed ${String(seed)} behind ${balancer}`);
    return dials;
  });
}

for (const balancer of BALANCER_POLICIES) {
  test(`steered, behind ${balancer}: N proxies, N dials, in less than a second, then silence`, () => {
    for (const proxies of [1, 3, 10, 20]) {
      for (let seed = 0; seed < 3; seed += 1) {
        const { meshMs, dials, quietDials, directDials, pool } = coldStart({ ...OURS, balancer, proxies, seed });
        const where = `N = ${String(proxies)}, seed ${String(seed)}`;
        assert.equal(dials, proxies, where);
        assert.ok(meshMs !== undefined && meshMs < 1_000, `${where}: ${String(meshMs)} ms`);
        assert.equal(quietDials, 0, where);
        assert.ok(directDials <= 1, `${where}: ${String(directDials)} direct tries in a minute`);
        assert.equal(pool, proxies, where);
      }
    }
  });
}

test('unsteered, behind a random balancer: a coupon collector, N * H(N) dials on average', () => {
  const [proxies, seeds] = [10, 200];
  const bound = proxies * Array.from({ length: proxies }, (_, nth) => 1 / (nth + 1)).reduce((a, b) => a + b, 0);
  // A coupon collector's standard deviation is below N * pi / sqrt(6); three of the mean's leave one failure in a thousand.
  const spread = (3 * proxies * Math.PI) / Math.sqrt(6) / Math.sqrt(seeds);
  const dials = mean(dialsOf(UNSTEERED, 'random', proxies, seeds));
  assert.ok(dials <= bound + spread, `${String(dials)} dials, bound ${String(bound)} + ${String(spread)}`);
  assert.ok(dials >= bound - spread, `${String(dials)} dials: luck like this means that the balancer is not random`);
});

test('unsteered, behind balancers fairer than chance: fewer dials than the coupon collector', () => {
  for (const balancer of BALANCER_POLICIES) {
    if (balancer === 'random' || !chanceReachesAll(balancer, 10)) continue;
    assert.ok(mean(dialsOf(UNSTEERED, balancer, 10, 10)) < 29.3, balancer);
  }
});

test('unsteered, behind a balancer that prefers: never', () => {
  for (const balancer of BALANCER_POLICIES) {
    if (chanceReachesAll(balancer, 6)) continue;
    assert.equal(coldStart({ ...UNSTEERED, balancer, proxies: 6, seed: 1 }).meshMs, undefined, balancer);
  }
});

test('after a rotation under bad gossip ours falls silent, and grow-only dials the dead for ever', () => {
  for (const seed of [0, 1, 2]) {
    const ours = rotation({ ...OURS, balancer: 'round-robin', proxies: 5, seed });
    assert.deepEqual([ours.converged, ours.quietDials, ours.pool], [true, 0, 5]);
    const growing = rotation({ ...entrant('grow-only', 'off'), balancer: 'round-robin', proxies: 5, seed });
    assert.equal(growing.pool, 8);
    assert.ok(growing.quietDials > 20, `${String(growing.quietDials)} dials in a quiet minute`);
  }
});

test('one proxy added to a mesh of ten is held within half a second, a dead one sought no longer than its lease', () => {
  for (const seed of [0, 1, 2, 3, 4]) {
    const { addedMs, soughtMs } = oneChanged({ ...OURS, balancer: 'random', proxies: 10, seed });
    assert.ok(addedMs !== undefined && addedMs < 500, `${String(addedMs)} ms`);
    assert.ok(soughtMs !== undefined && soughtMs < 10_500, `${String(soughtMs)} ms`);
  }
});
