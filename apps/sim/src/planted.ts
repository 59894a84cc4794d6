import { UNCAUGHT_BUGS, PLANTED_BUGS, catchBug } from '@xylem/simulator';
import type { Catch } from '@xylem/simulator';
import { writeTable } from './document.ts';

const HEAD = ['| planted bug | caught by | at seed |', '|---|---|---|'];

function row({ name, promise, seed }: Catch): string {
  return promise === undefined
    ? `| ${name} | not caught | in ${String(seed)} seeds |`
    : `| ${name} | ${promise} | ${String(seed)} |`;
}

/** Plants every bug, prints the table and writes it into docs/SIMULATION.md. False when one is missed that was caught before. */
export function plantAll(maxSeeds: number): boolean {
  const rows: string[] = [];
  let missed = 0;
  for (const bug of PLANTED_BUGS) {
    const caught = catchBug(bug, 1, maxSeeds);
    if (caught.promise === undefined && !UNCAUGHT_BUGS.has(bug.name)) missed += 1;
    rows.push(row(caught));
    console.log(row(caught));
  }
  writeTable('planted', [...HEAD, ...rows]);
  return missed === 0;
}
