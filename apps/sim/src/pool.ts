import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Batch, SeedResult } from './seeds.ts';

const BATCH = 25;

/** Runs seeds on every core; resolves with the results in order of seed. Rejects when a worker dies. */
export async function runSeeds(all: Batch): Promise<readonly SeedResult[]> {
  const batches = split(all);
  const results: SeedResult[] = [];
  const workers = Array.from(
    { length: Math.min(availableParallelism(), batches.length) },
    () => new Worker(new URL('worker.ts', import.meta.url)),
  );
  try {
    await Promise.all(workers.map((worker) => drain(worker, batches, results)));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return results.sort((one, another) => one.seed - another.seed);
}

function split({ first, count, ...rest }: Batch): Batch[] {
  const batches: Batch[] = [];
  for (let done = 0; done < count; done += BATCH)
    batches.push({ ...rest, first: first + done, count: Math.min(BATCH, count - done) });
  return batches;
}

function drain(worker: Worker, batches: Batch[], results: SeedResult[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const next = (): void => {
      const batch = batches.shift();
      if (batch === undefined) resolve();
      else worker.postMessage(batch);
    };
    worker.on('message', (done: readonly SeedResult[]) => {
      results.push(...done);
      next();
    });
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`a worker ended with status ${String(code)}`)));
    next();
  });
}
