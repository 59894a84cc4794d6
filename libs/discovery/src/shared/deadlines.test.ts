import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Deadlines } from './deadlines.ts';
import { Queue } from './queue.ts';

test('behaves as a sorted list of named instants under any operations', () => {
  const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
  const operation = fc.oneof(
    fc.record({ kind: fc.constant('set' as const), key, at: fc.option(fc.nat(50), { nil: undefined }) }),
    fc.record({ kind: fc.constant('take' as const), now: fc.nat(50) }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
      const deadlines = new Deadlines<string>();
      const model = new Map<string, number>();
      const first = () => [...model].sort(([a, x], [b, y]) => x - y || (a < b ? -1 : 1))[0];
      for (const step of operations) {
        if (step.kind === 'set') {
          deadlines.set(step.key, step.at);
          if (step.at === undefined) model.delete(step.key);
          else model.set(step.key, step.at);
        } else {
          const expected = first();
          const due = expected !== undefined && expected[1] <= step.now ? expected[0] : undefined;
          assert.equal(deadlines.takeDue(step.now), due);
          if (due !== undefined) model.delete(due);
        }
        assert.equal(deadlines.next(), first()?.[1]);
        assert.equal(deadlines.size, model.size);
      }
    }),
  );
});

test('stays small while a deadline is moved a million times', () => {
  const deadlines = new Deadlines<string>();
  const started = performance.now();
  for (let at = 0; at < 1_000_000; at += 1) deadlines.set(`k${at % 10}`, at);
  assert.equal(deadlines.size, 10);
  assert.ok(performance.now() - started < 5_000);
});

test('a queue gives back what was put in, in order', () => {
  const queue = new Queue<number>();
  for (let round = 0; round < 3; round += 1) {
    for (let item = 0; item < 100; item += 1) queue.push(item);
    for (let item = 0; item < 100; item += 1) assert.equal(queue.shift(), item);
    assert.equal(queue.shift(), undefined);
  }
});
