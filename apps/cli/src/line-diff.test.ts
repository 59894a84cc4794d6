import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lineDiff } from './line-diff.ts';

function applied(before: string, lines: readonly string[]): string {
  const kept = lines.filter((line) => !line.startsWith('-')).map((line) => line.slice(1));
  const gone = lines.filter((line) => !line.startsWith('+')).map((line) => line.slice(1));
  const old = before.split('\n');
  // What is shown of the old text stands in it, in one piece.
  const at = old.findIndex((_, index) => gone.every((line, offset) => old[index + offset] === line));
  assert.notEqual(at, -1);
  return [...old.slice(0, at), ...kept, ...old.slice(at + gone.length)].join('\n');
}

for (const [before, after] of [
  ['a\nb\nc', 'a\nx\nc'],
  ['a\nb\nc\nd\ne\nf', 'a\nb\nc\nnew\nd\ne\nf'],
  ['a\nb\nc\nd\ne\nf', 'c\nd'],
  ['one', 'two'],
  ['a\nb\na\nb\na', 'b\na\nb\nb\na\nc'],
] as const) {
  test(`turns ${JSON.stringify(before)} into ${JSON.stringify(after)}`, () => {
    assert.equal(applied(before, lineDiff(before, after)), after);
  });
}

test('shows what changed with two lines around it', () => {
  assert.deepEqual(lineDiff('1\n2\n3\n4\n5\n6\n7', '1\n2\n3\nx\n5\n6\n7'), [' 2', ' 3', '-4', '+x', ' 5', ' 6']);
});

test('is empty for equal texts, whatever ends their lines', () => {
  assert.deepEqual(lineDiff('a\nb\n', 'a\r\nb'), []);
});

test('takes time for long texts in bounds', () => {
  const long = (prefix: string): string => Array.from({ length: 20_000 }, (_, index) => `${prefix}${index}`).join('\n');
  assert.equal(lineDiff(long('a'), long('b')).length, 40_000);
});
