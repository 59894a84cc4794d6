import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAgent } from '@xylem/discovery/strategies';
import { simulate } from './run.ts';
import type { Overrides, RunReport } from './run.ts';
import { SITUATIONS } from './situations.ts';

const SEEDS = 120;

const naive: Overrides = { cores: { leaf: (config, host) => createAgent('naive', config, host.random, host.now) } };
const reports: RunReport[] = [];

test('every promise is kept whatever the seed brings', () => {
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const report = simulate({ seed });
    assert.equal(report.violation, undefined, `seed ${String(seed)}: ${JSON.stringify(report.violation)}`);
    reports.push(report);
  }
});

/** Of so few seeds as here; `npm run sim -- --seeds 2000` may miss none. */
const MAY_MISS = 10;

test('the seeds reach nearly every situation that matters', () => {
  const reached = new Set(reports.flatMap((report) => report.reached));
  const missed = SITUATIONS.filter(({ name }) => !reached.has(name)).map(({ name }) => name);
  assert.ok(missed.length <= MAY_MISS, missed.join('; '));
});

test('each situation has a name of its own', () => {
  assert.equal(new Set(SITUATIONS.map(({ name }) => name)).size, SITUATIONS.length);
});

test('one seed gives one run, to the last step', () => {
  for (const seed of [3, 77]) {
    const [one, other] = [simulate({ seed }), simulate({ seed })];
    assert.equal(one.hash, other.hash);
    assert.equal(one.steps, other.steps);
  }
});

test('other seeds give other runs', () => {
  assert.equal(new Set(reports.map((report) => report.hash)).size, reports.length);
});

test('a fault that is left out leaves the deployment as it was', () => {
  const whole = simulate({ seed: 5 });
  const without = simulate({ seed: 5, faults: whole.faults.slice(1) });
  assert.equal(without.balancer, whole.balancer);
  assert.equal(without.violation, undefined);
});

test('the naive strategy gets stuck, and the checkers say so', () => {
  const broken = Array.from({ length: 12 }, (_, seed) => simulate({ seed, overrides: naive }).violation?.promise);
  assert.ok(
    broken.some((promise) => promise !== undefined),
    'no seed broke it',
  );
});
