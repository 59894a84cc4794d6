import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Deadlines } from './deadlines.ts';

test('deadlines run in order of time, then of setting; the last setting of a name counts', () => {
  const command = fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    at: fc.option(fc.nat(20), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      const deadlines = new Deadlines();
      const model = new Map<string, number>();
      const ran: string[] = [];
      for (const { name, at } of commands) {
        model.delete(name);
        if (at === undefined) deadlines.cancel(name);
        else {
          model.set(name, at);
          deadlines.set(name, at, () => ran.push(name));
        }
      }
      const wanted = [...model].sort(([, a], [, b]) => a - b).map(([name]) => name);
      assert.equal(deadlines.next(), wanted[0] === undefined ? undefined : model.get(wanted[0]));
      for (let due = deadlines.takeDue(20); due !== undefined; due = deadlines.takeDue(20)) due.run(due.lateMs);
      assert.deepEqual(ran, wanted);
      assert.equal(deadlines.next(), undefined);
    }),
  );
});

test('what is not due stays, and lateness is told', () => {
  const deadlines = new Deadlines();
  deadlines.set('a', 10, () => undefined);
  assert.equal(deadlines.takeDue(9), undefined);
  assert.equal(deadlines.takeDue(17)?.lateMs, 7);
});
