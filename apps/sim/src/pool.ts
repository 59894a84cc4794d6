import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Batch, SeedResult } from './seeds.ts';

const BATCH = 25;

/** Runs seeds on every core; resolves with the results in order of seed. Rejects when a worker dies. */
export async function runSeeds(all: Batch): Promise<readonly SeedResult[]> {
  const batches = await inWorkers<Batch, readonly SeedResult[]>('worker.ts', split(all));
  return batches.flat();
}

function split({ first, count, ...rest }: Batch): Batch[] {
  const batches: Batch[] = [];
  for (let done = 0; done < count; done += BATCH)
    batches.push({ ...rest, first: first + done, count: Math.min(BATCH, count - done) });
  return batches;
}

/**
 * Hands jobs to one worker for each core. `script` (beside this file) answers each message, a job, with one message, its
 * result; both are plain data. Resolves with the results in order of the jobs; rejects when a worker dies.
 */
export async function inWorkers<Job, Result>(script: string, jobs: readonly Job[]): Promise<readonly Result[]> {
  const results: Result[] = [];
  const waiting = jobs.map((job, index) => ({ job, index }));
  const workers = Array.from(
    { length: Math.min(availableParallelism(), jobs.length) },
    () => new Worker(new URL(script, import.meta.url)),
  );
  const next = (): { job: Job; index: number } | undefined => waiting.shift();
  try {
    await Promise.all(workers.map((worker) => drain<Job, Result>(worker, next, results)));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return results;
}

function drain<Job, Result>(
  worker: Worker,
  take: () => { readonly job: Job; readonly index: number } | undefined,
  results: Result[],
): Promise<void> {
  return new Promise((resolve, reject) => {
    let running = -1;
    const next = (): void => {
      const taken = take();
      if (taken === undefined) return resolve();
      running = taken.index;
      worker.postMessage(taken.job);
    };
    worker.on('message', (result: Result) => {
      results[running] = result;
      next();
    });
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`a worker ended with status ${String(code)}`)));
    next();
  });
}
