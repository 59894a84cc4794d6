import { parentPort } from 'node:worker_threads';
import { runBatch } from './seeds.ts';
import type { Batch } from './seeds.ts';

parentPort?.on('message', (batch: Batch) => parentPort?.postMessage(runBatch(batch)));
