import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { FAULT_KINDS, plantedBug, simulate } from '@xylem/simulator';
import * as z from 'zod';

const FOLDER = new URL('../../../libs/simulator/regressions/', import.meta.url);

const regression = z.strictObject({
  seed: z.number().int(),
  promise: z.string(),
  planted: z.string().optional(),
  faults: z.array(
    z.strictObject({
      kind: z.enum(FAULT_KINDS),
      at: z.number(),
      forMs: z.number(),
      victim: z.number(),
      other: z.number(),
    }),
  ),
});

for (const file of readdirSync(FOLDER).sort()) {
  const { seed, faults, promise, planted } = regression.parse(JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')));

  test(`no promise is broken any more by ${file}`, () => {
    assert.equal(simulate({ seed, faults }).violation, undefined);
  });

  if (planted === undefined) continue;
  test(`${file} still shows the mistake: ${planted}`, () => {
    const bug = plantedBug(planted);
    assert.ok(bug !== undefined, `no planted bug is called ${planted}`);
    assert.equal(simulate({ seed, faults, overrides: bug.overrides }).violation?.promise, promise);
  });
}
