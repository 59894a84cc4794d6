import assert from 'node:assert/strict';
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { carried, minorCollection } from './young-garbage.ts';

const BUFFER_BYTES = 65_536;
const BUFFERS = 16_384;

test('this version of Node collects young garbage on request', () => {
  const collect = minorCollection();
  assert.ok(collect !== undefined);
  collect({ type: 'minor' });
  assert.equal(Reflect.get(globalThis, 'gc'), undefined);
});

test('a gigabyte that was carried in short-lived buffers does not make V8 mark the whole heap again and again', async () => {
  let marked = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const detail: unknown = Reflect.get(entry, 'detail');
      const kind: unknown = typeof detail === 'object' && detail !== null ? Reflect.get(detail, 'kind') : undefined;
      if (kind === constants.NODE_PERFORMANCE_GC_MAJOR) marked += 1;
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  for (let count = 0; count < BUFFERS; count += 1) {
    // As a hop does: what it reads, what it sends, and what is made of it on the way.
    for (let copy = 0; copy < 4; copy += 1) Buffer.allocUnsafeSlow(BUFFER_BYTES);
    carried(BUFFER_BYTES);
    if (count % 16 === 0) await turn();
  }
  await turn();
  observer.disconnect();
  // Without it: more than fifty times.
  assert.ok(marked <= 15, `${marked} times`);
});
