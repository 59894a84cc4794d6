import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PauseAwareClock } from './clock.ts';

test('the clock runs while the process does and stands still while it does not', () => {
  let real = 5_000;
  const clock = new PauseAwareClock(() => real);
  const start = clock.now();
  for (let beat = 0; beat < 30; beat += 1) {
    real += 100;
    clock.now();
  }
  assert.equal(clock.now() - start, 3_000);
  real += 60_000;
  assert.equal(clock.now() - start, 3_100);
  real += 900; // a busy event loop is not a pause
  assert.equal(clock.now() - start, 4_000);
  clock.stop();
});
