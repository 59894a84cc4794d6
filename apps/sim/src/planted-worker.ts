import { parentPort } from 'node:worker_threads';
import { catchBug, plantedBug } from '@xylem/simulator';

/** One planted bug to be looked for in the seeds from 1 on. */
export interface PlantedJob {
  readonly name: string;
  readonly maxSeeds: number;
}

parentPort?.on('message', ({ name, maxSeeds }: PlantedJob) => {
  const bug = plantedBug(name);
  if (bug === undefined) throw new Error(`no planted bug is called ${name}`);
  parentPort?.postMessage(catchBug(bug, 1, maxSeeds));
});
