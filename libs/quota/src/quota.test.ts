import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CountQuota } from './count-quota.ts';
import { RateQuota } from './rate-quota.ts';

test('gives the burst at once, then as much as comes back, and says when', () => {
  const quota = new RateQuota({ perSecond: 10, burst: 3 }, 8);
  for (let index = 0; index < 3; index += 1) assert.equal(quota.take('a', 0).kind, 'granted');
  assert.deepEqual(quota.take('a', 0), { kind: 'refused', retryAfterMs: 100 });
  assert.deepEqual(quota.take('a', 40), { kind: 'refused', retryAfterMs: 60 });
  assert.equal(quota.take('a', 100).kind, 'granted');
  assert.equal(quota.take('b', 100).kind, 'granted', 'another key has its own');
});

test('in no span of time a key gets more than burst and rate allow, and a refusal says when to come back', () => {
  const arrivals = fc.array(fc.record({ key: fc.constantFrom('a', 'b'), after: fc.nat(400) }), { maxLength: 200 });
  fc.assert(
    fc.property(
      arrivals,
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 10 }),
      (steps, perSecond, burst) => {
        const quota = new RateQuota({ perSecond, burst }, 2);
        const granted = new Map<string, number[]>();
        let now = 0;
        for (const { key, after } of steps) {
          now += after;
          const answer = quota.take(key, now);
          if (answer.kind === 'granted') granted.set(key, [...(granted.get(key) ?? []), now]);
          else assert.ok(answer.retryAfterMs > 0 && answer.retryAfterMs <= Math.ceil(1_000 / perSecond));
        }
        for (const times of granted.values()) {
          for (const [first, from] of times.entries()) {
            for (const [last, to] of times.entries()) {
              if (last < first) continue;
              const allowed = burst + ((to - from) / 1_000) * perSecond;
              assert.ok(last - first + 1 <= allowed + 1e-6, `${last - first + 1} in ${to - from} ms`);
            }
          }
        }
      },
    ),
  );
});

test('a flood of names is bounded, shares one allowance, and does not free who was refused', () => {
  const quota = new RateQuota({ perSecond: 1, burst: 2 }, 4);
  quota.take('greedy', 0);
  quota.take('greedy', 0);
  let granted = 0;
  for (let index = 0; index < 1_000; index += 1) if (quota.take(`name-${index}`, 1).kind === 'granted') granted += 1;
  assert.equal(quota.size, 4);
  assert.ok(granted <= 3 + 2 + 1, `${granted} were granted`);
  assert.equal(quota.take('greedy', 1).kind, 'refused');
  assert.equal(quota.take('newcomer', 60_000).kind, 'granted', 'and all is well again later');
  assert.equal(quota.size, 4);
});

test('counts what is held, and a key with nothing is forgotten', () => {
  const quota = new CountQuota(2);
  assert.equal(quota.enter('a').kind, 'granted');
  assert.equal(quota.enter('a').kind, 'granted');
  assert.equal(quota.enter('a').kind, 'refused');
  assert.equal(quota.enter('b').kind, 'granted');
  quota.leave('a');
  assert.equal(quota.held('a'), 1);
  assert.equal(quota.enter('a').kind, 'granted');
  quota.leave('b');
  assert.throws(() => quota.leave('b'), /gave back more/);
});

test('refuses limits that make no sense', () => {
  assert.throws(() => new RateQuota({ perSecond: 0, burst: 1 }, 1), RangeError);
  assert.throws(() => new RateQuota({ perSecond: 1, burst: 0 }, 1), RangeError);
  assert.throws(() => new CountQuota(0), RangeError);
});
