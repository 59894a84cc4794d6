import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { FAULT_KINDS, simulate } from '@xylem/simulator';
import * as z from 'zod';

const FOLDER = new URL('../../../libs/simulator/regressions/', import.meta.url);

const regression = z.strictObject({
  seed: z.number().int(),
  promise: z.string(),
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
  test(`no promise is broken any more by ${file}`, () => {
    const { seed, faults } = regression.parse(JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')));
    assert.equal(simulate({ seed, faults }).violation, undefined);
  });
}
