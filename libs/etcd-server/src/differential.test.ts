import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startEtcd } from '@xylem/testkit';
import type { EtcdProcess } from '@xylem/testkit';
import fc from 'fast-check';
import { startEtcdServer } from './server.ts';
import type { EtcdServer } from './server.ts';
import { operations } from './testing/operations.ts';
import type { Operation } from './testing/operations.ts';
import { temporaryFolder } from './testing/folder.ts';
import { Run } from './testing/run.ts';

/** `XYLEM_DIFFERENTIAL_RUNS=5000` looks longer. */
const RUNS = Number(process.env['XYLEM_DIFFERENTIAL_RUNS'] ?? 150);
const DEADLINE_MS = 60_000 + RUNS * 1_000;

/** Ends looking for a smaller example early enough to tell the one that was found. */
const SEARCH_MS = DEADLINE_MS - 30_000;
const RESTART_RUNS = Math.ceil(RUNS / 5);

let etcd: EtcdProcess;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;

before(async () => {
  etcd = await startEtcd();
  folder = await temporaryFolder();
});

after(async () => {
  await etcd.dispose();
  await folder.remove();
});

function startEmbedded(dataDir: string | undefined): Promise<EtcdServer> {
  return startEtcdServer({ dataDir, listen: '127.0.0.1:0', minLeaseTtlSeconds: 1 });
}

/** How much was compared. */
interface Tally {
  operations: number;
  watches: number;
  refusals: number;
  restarts: number;
}

interface Comparison {
  readonly ours: Run;
  readonly theirs: Run;
  readonly tally: Tally;
  /** Starts our server again; undefined where it keeps nothing. */
  readonly restart?: () => Promise<void>;
}

/** Does the same on both servers, one operation after the other, and compares each answer and then what the watches told. */
async function compare(comparison: Comparison, list: readonly Operation[], restartEvery = Infinity): Promise<void> {
  const { ours, theirs, tally, restart } = comparison;
  await Promise.all([ours.reset(), theirs.reset()]);
  const finishWatches = async (): Promise<void> => {
    const [told, expected] = await Promise.all([ours.finishWatches(), theirs.finishWatches()]);
    assert.deepEqual(told, expected);
    tally.watches += told.length;
  };
  for (const [index, operation] of list.entries()) {
    const restarts = (index + 1) % restartEvery === 0;
    // Whether a watch that is behind survives a compaction is a race in etcd.
    if (operation.type === 'compact' || restarts) await finishWatches();
    if (restarts) {
      await restart?.();
      theirs.reconnect(etcd.address); // streams number their watches
      tally.restarts += 1;
    }
    const [answer, expected] = await Promise.all([ours.perform(operation), theirs.perform(operation)]);
    assert.equal(answer, expected, `to ${JSON.stringify(operation)}`);
    tally.operations += 1;
    if (/^\d+ etcdserver/.test(answer)) tally.refusals += 1;
  }
  await finishWatches();
}

function report({ operations: count, watches, refusals, restarts }: Tally): string {
  return `compared ${count} operations (${refusals} refused) and ${watches} watches with etcd, over ${restarts} restarts`;
}

test(
  'random operations come to the same on the embedded store and on etcd',
  { timeout: DEADLINE_MS },
  async (context) => {
    const embedded = await startEmbedded(undefined);
    const tally: Tally = { operations: 0, watches: 0, refusals: 0, restarts: 0 };
    const comparison = { ours: new Run(embedded.address), theirs: new Run(etcd.address), tally };
    try {
      await fc.assert(
        fc.asyncProperty(operations, (list) => compare(comparison, list)),
        { numRuns: RUNS, plugins: [fc.interruptAfterTimeLimit(SEARCH_MS)] },
      );
    } finally {
      comparison.ours.close();
      comparison.theirs.close();
      await embedded.close();
    }
    context.diagnostic(report(tally));
  },
);

test('they still do when the embedded store starts again in between', { timeout: DEADLINE_MS }, async (context) => {
  let embedded = await startEmbedded(folder.path);
  const tally: Tally = { operations: 0, watches: 0, refusals: 0, restarts: 0 };
  const ours = new Run(embedded.address);
  const restart = async (): Promise<void> => {
    await embedded.close();
    embedded = await startEmbedded(folder.path);
    ours.reconnect(embedded.address);
  };
  const comparison = { ours, theirs: new Run(etcd.address), tally, restart };
  try {
    await fc.assert(
      fc.asyncProperty(operations, fc.integer({ min: 4, max: 20 }), (list, every) => compare(comparison, list, every)),
      { numRuns: RESTART_RUNS, plugins: [fc.interruptAfterTimeLimit(SEARCH_MS)] },
    );
  } finally {
    comparison.ours.close();
    comparison.theirs.close();
    await embedded.close();
  }
  context.diagnostic(report(tally));
});
