import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retainedHeapBytes } from './heap.ts';

const MIB = 2 ** 20;
const ENTRIES = 1_000_000;

test('what is held counts, garbage does not', () => {
  const before = retainedHeapBytes();
  const held = Array.from({ length: ENTRIES }, (_none, index) => ({ index }));
  const withHeld = retainedHeapBytes();
  assert.ok(withHeld - before > 8 * MIB, `${withHeld - before} bytes`);
  assert.equal(held.length, ENTRIES);
  held.length = 0;
  assert.ok(retainedHeapBytes() - before < 4 * MIB);
});
