import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

function bench(...args: readonly string[]) {
  return spawnSync(process.execPath, [join(import.meta.dirname, 'bench.ts'), ...args], { encoding: 'utf8' });
}

test('lists the benches without a name, on stderr alone', () => {
  const { status, stdout, stderr } = bench();
  assert.equal(status, 0);
  assert.equal(stdout, '');
  assert.match(stderr, /^ {2}demo\/throughput$/m);
});

test('lists the benches for a name that none has', () => {
  const { status, stderr } = bench('no-such-bench');
  assert.equal(status, 2);
  assert.match(stderr, /^There is no bench "no-such-bench"\. These are there:$/m);
});
