import { parentPort } from 'node:worker_threads';
import { runCompareJob } from './compare-jobs.ts';
import type { CompareJob } from './compare-jobs.ts';

parentPort?.on('message', (job: CompareJob) => parentPort?.postMessage(runCompareJob(job)));
