import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startEtcd } from '@xylem/testkit';
import type { EtcdProcess } from '@xylem/testkit';
import fc from 'fast-check';
import { startEtcdServer } from './server.ts';
import type { EtcdServer } from './server.ts';
import { operations } from './testing/operations.ts';
import type { Operation } from './testing/operations.ts';
import { Run } from './testing/run.ts';

/** `XYLEM_DIFFERENTIAL_RUNS=5000` looks longer. */
const RUNS = Number(process.env['XYLEM_DIFFERENTIAL_RUNS'] ?? 150);
const DEADLINE_MS = 60_000 + RUNS * 1_000;

let etcd: EtcdProcess;
let embedded: EtcdServer;

before(async () => {
  etcd = await startEtcd();
  embedded = await startEtcdServer({ dataDir: undefined, listen: '127.0.0.1:0', minLeaseTtlSeconds: 1 });
});

after(async () => {
  await embedded.close();
  await etcd.dispose();
});

/** How much was compared. */
interface Tally {
  operations: number;
  watches: number;
  refusals: number;
}

/** Does the same on both servers, one operation after the other, and compares each answer and then what the watches told. */
async function compare(runs: readonly [Run, Run], list: readonly Operation[], tally: Tally): Promise<void> {
  const [ours, theirs] = runs;
  await Promise.all(runs.map((run) => run.reset()));
  const finishWatches = async (): Promise<void> => {
    const [told, expected] = await Promise.all([ours.finishWatches(), theirs.finishWatches()]);
    assert.deepEqual(told, expected);
    tally.watches += told.length;
  };
  for (const operation of list) {
    // Whether a watch that is behind survives a compaction is a race in etcd.
    if (operation.type === 'compact') await finishWatches();
    const [answer, expected] = await Promise.all([ours.perform(operation), theirs.perform(operation)]);
    assert.equal(answer, expected, `to ${JSON.stringify(operation)}`);
    tally.operations += 1;
    if (/^\d+ etcdserver/.test(answer)) tally.refusals += 1;
  }
  await finishWatches();
}

test(
  'random operations come to the same on the embedded store and on etcd',
  { timeout: DEADLINE_MS },
  async (context) => {
    const runs = [new Run(embedded.address), new Run(etcd.address)] as const;
    const tally: Tally = { operations: 0, watches: 0, refusals: 0 };
    try {
      await fc.assert(
        fc.asyncProperty(operations, (list) => compare(runs, list, tally)),
        { numRuns: RUNS },
      );
    } finally {
      for (const run of runs) run.close();
    }
    context.diagnostic(
      `compared ${tally.operations} operations (${tally.refusals} refused) and ${tally.watches} watches with etcd`,
    );
  },
);
