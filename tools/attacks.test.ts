import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { casesIn, readRows, rowOf } from './attacks.ts';
import { planTests } from './testing/test-files.ts';

const ROOT = join(import.meta.dirname, '..');
const rows = readRows(readFileSync(join(ROOT, 'docs/ATTACKS.md'), 'utf8'));

test('reads the rows of the page, each once', () => {
  assert.ok(rows.length >= 25);
  assert.equal(new Set(rows.map(({ id }) => id)).size, rows.length);
  assert.ok(rows.every(({ attack, expected }) => attack !== '' && expected !== ''));
});

test('a case belongs to the row its name begins with', () => {
  assert.equal(rowOf('A17: decimal loopback is denied'), 'A17');
  assert.equal(rowOf('A170 is something else'), undefined);
  assert.equal(rowOf('an agent of row A17: not at the beginning'), undefined);
});

for (const { id, attack } of rows) {
  test(`${id} (${attack.slice(0, 40)}...) has a case somewhere`, () => {
    const phases = casesIn(planTests(ROOT, [], 1), ROOT, new Set([id]));
    assert.notDeepEqual(
      phases.flatMap((phase) => phase.files),
      [],
    );
  });
}
