import { mkdirSync, writeFileSync } from 'node:fs';
import { shrink } from '@xylem/simulator';

const FOLDER = new URL('../../../libs/simulator/regressions/', import.meta.url);

/** Reduces a failing seed and keeps it for the tests to replay. True when there is nothing to keep. */
export function keepSmallest(seed: number): boolean {
  const regression = shrink(seed);
  if (regression === undefined) {
    console.log(`seed ${String(seed)} keeps every promise: nothing to shrink`);
    return true;
  }
  mkdirSync(FOLDER, { recursive: true });
  const file = `seed-${String(seed)}.json`;
  writeFileSync(new URL(file, FOLDER), `${JSON.stringify(regression, undefined, 2)}\n`);
  const faults = regression.faults.map(
    ({ kind, at, forMs }) => `${kind} at ${(at / 1000).toFixed(3)} s for ${forMs.toFixed(0)} ms`,
  );
  console.log(
    `${regression.promise} is broken by ${String(faults.length)} faults; kept as libs/simulator/regressions/${file}`,
  );
  for (const fault of faults) console.log(`  ${fault}`);
  return false;
}
