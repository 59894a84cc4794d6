import assert from 'node:assert/strict';
import { test } from 'node:test';

import { NO_TESTS, type FileReport } from './run-files.ts';
import { isSuccess, summaryLines } from './summary.ts';

const PASSED: FileReport = {
  file: 'libs/pool/src/size.test.ts',
  durationMs: 1_240,
  counts: { ...NO_TESTS, tests: 2, passed: 2 },
  failures: [],
};

function outcome(files: readonly FileReport[], problem?: string) {
  const passed = files.reduce((sum, { counts }) => sum + counts.passed, 0);
  return { counts: { ...NO_TESTS, tests: passed, passed }, files, problem };
}

test('the last line says failed when only a check did, and nothing before it says otherwise', () => {
  assert.deepEqual(summaryLines(outcome([PASSED]), []), [
    'Every check passed.',
    'PASSED: 2 passed, 0 failed, 0 skipped',
  ]);
  assert.deepEqual(summaryLines(outcome([PASSED]), ['format', 'lint']), [
    'Failed checks, shown at the top: format, lint',
    'FAILED: 2 passed, 0 failed, 0 skipped',
  ]);
});

test('a run that was interrupted, or ran nothing, has failed', () => {
  const interrupted = outcome([PASSED], 'The tests were interrupted.');
  assert.ok(!isSuccess(interrupted));
  assert.deepEqual(summaryLines(interrupted), ['The tests were interrupted.', 'FAILED: 2 passed, 0 failed, 0 skipped']);
  assert.deepEqual(summaryLines(outcome([])), ['FAILED: 0 passed, 0 failed, 0 skipped']);
});

test('a long run shows its slowest files first', () => {
  const files = Array.from({ length: 20 }, (_, index) => ({
    ...PASSED,
    file: `${index}.test.ts`,
    durationMs: index * 100,
  }));
  const lines = summaryLines(outcome(files));
  assert.deepEqual(lines.slice(0, 3), ['Slowest of 20 files:', '     1.9 s  19.test.ts', '     1.8 s  18.test.ts']);
  assert.equal(lines.length, 17);
});
