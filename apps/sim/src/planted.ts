import { PLANTED_BUGS } from '@xylem/simulator';
import type { Catch } from '@xylem/simulator';
import { writeTable } from './document.ts';
import type { PlantedJob } from './planted-worker.ts';
import { inWorkers } from './pool.ts';

const HEAD = ['| planted bug | caught by | at seed | why not |', '|---|---|---|---|'];

function row({ name, promise, seed, chosen }: Catch, harmless: string | undefined): string {
  return promise === undefined
    ? `| ${name} | - | none of ${String(seed)} | ${harmless ?? 'not known'} |`
    : `| ${name} | ${promise} | ${String(seed)}${chosen ? ', with chosen faults' : ''} | |`;
}

/**
 * Plants every bug, prints the table and writes it into docs/SIMULATION.md. False when one that can break a promise is missed, or
 * one that should not be able to does.
 */
export async function plantAll(maxSeeds: number): Promise<boolean> {
  const jobs: readonly PlantedJob[] = PLANTED_BUGS.map(({ name }) => ({ name, maxSeeds }));
  const catches = await inWorkers<PlantedJob, Catch>('planted-worker.ts', jobs);
  const rows = catches.map((caught, index) => row(caught, PLANTED_BUGS[index]?.harmless));
  for (const line of rows) console.log(line);
  writeTable('planted', [...HEAD, ...rows]);
  return catches.every(
    ({ promise }, index) => (promise === undefined) === (PLANTED_BUGS[index]?.harmless !== undefined),
  );
}
