import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { casesIn, isWithstood, readRows, resultLine, rowOf, withEvidence } from './attacks.ts';
import { planTests } from './testing/test-files.ts';

const ROOT = join(import.meta.dirname, '..');
const PAGE = readFileSync(join(ROOT, 'docs/ATTACKS.md'), 'utf8');
const rows = readRows(PAGE);

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

test('the page names no file that does not show its row; npm run attacks -- --write', () => {
  const actual = new Map(readRows(withEvidence(PAGE, ROOT)).map((row) => [row.id, row.shownBy.split(', ')]));
  for (const { id, shownBy } of rows) {
    const stray = shownBy.split(', ').filter((file) => actual.get(id)?.includes(file) !== true);
    assert.deepEqual(stray, [], `${id}: run npm run attacks -- --write`);
  }
});

test('a row is withstood when it has a case and every one of them passed', () => {
  const row = { id: 'A7', attack: 'x'.repeat(100) };
  const passed = new Map([
    ['wire/hostile-bytes', 2],
    ['demo/attacks', 1],
  ]);
  const good = { passed, failures: [], probeMs: 12.4 };
  const fallen = { ...good, failures: ['demo/attacks: A7: what it was: why'] };
  const none = { passed: new Map<string, number>(), failures: [], probeMs: undefined };
  assert.deepEqual([good, fallen, none].map(isWithstood), [true, false, false]);
  assert.match(
    resultLine(row, good),
    /^A7 {3}withstood {6}3 {2}x{57}\.{3} {2}probe p99 12 ms, demo\/attacks 1, wire\/hostile-bytes 2$/,
  );
  assert.match(resultLine(row, fallen), /^A7 {3}1 FELL {9}4 /);
  assert.match(resultLine(row, none), /^A7 {3}NO CASE {8}0 /);
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
