import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Interleaving } from './testing/interleaving.ts';

/** More of them: XYLEM_SEEDS=3000; one of them again: XYLEM_SEEDS=1 XYLEM_SEED=1155. */
const SEEDS = Number(process.env['XYLEM_SEEDS'] ?? 120);
const FIRST = Number(process.env['XYLEM_SEED'] ?? 1);

const SITUATIONS = ['lateExecutions', 'unknownThatHappened', 'restores'] as const;

/** Runs every seed; answers how often the situations that matter came up. */
function explore(restores: boolean): Record<(typeof SITUATIONS)[number], number> {
  const reached = { lateExecutions: 0, unknownThatHappened: 0, restores: 0 };
  for (let seed = FIRST; seed < FIRST + SEEDS; seed += 1) {
    try {
      const run = new Interleaving({ seed, steps: 5_000, restores });
      run.run();
      for (const key of SITUATIONS) reached[key] += run.reached[key];
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
  return reached;
}

test('tokens and incarnations rise, no claim outlives its incarnation, records end as what is held, in any order of events', () => {
  const reached = explore(false);
  assert.ok(reached.lateExecutions > 0, 'requests executed after their outcome was given up');
  assert.ok(reached.unknownThatHappened > 0, 'unknown outcomes that had happened');
});

test('the same holds when the store is restored from backups', () => {
  assert.ok(explore(true).restores > 0);
});
