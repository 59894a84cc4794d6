import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Gate } from './gate.ts';

test('bounds each address and all of them together, and counts those that left', () => {
  const gate = new Gate({ total: 3, perAddress: 2 });
  const first = gate.admit('a');
  assert.ok(first.admitted && gate.admit('a').admitted);
  assert.deepEqual(gate.admit('a'), { admitted: false, limit: 'address' });
  assert.ok(gate.admit('b').admitted);
  assert.deepEqual(gate.admit('c'), { admitted: false, limit: 'total' });
  first.leave();
  first.leave();
  assert.equal(gate.waiting, 2);
  assert.ok(gate.admit('a').admitted);
});
