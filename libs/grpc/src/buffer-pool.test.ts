import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BufferPool } from './buffer-pool.ts';

test('a buffer that was given back is used again, and one that was not never is', () => {
  const pool = new BufferPool({ bytes: 8, spare: 4 });
  const [first, second] = [pool.take(), pool.take()];
  assert.notEqual(first.buffer, second.buffer);
  pool.giveBack(first);
  assert.equal(pool.take(), first);
  assert.notEqual(pool.take(), second);
});

test('keeps no more buffers than it may', () => {
  const pool = new BufferPool({ bytes: 8, spare: 1 });
  const [first, second] = [pool.take(), pool.take()];
  pool.giveBack(first);
  pool.giveBack(second);
  assert.equal(pool.take(), first);
  assert.notEqual(pool.take(), second);
});
