import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Random } from '../time.ts';
import { RenewalSchedule } from './schedule.ts';
import type { RenewalEffect, RenewalEvent } from './types.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const MIDDLE: Random = { next: () => 0.5 };

function effects(schedule: RenewalSchedule): readonly RenewalEffect[] {
  const all: RenewalEffect[] = [];
  for (let effect = schedule.pollEffect(); effect !== undefined; effect = schedule.pollEffect()) all.push(effect);
  return all;
}

function kinds(schedule: RenewalSchedule): readonly string[] {
  return effects(schedule).map(({ type }) => type);
}

/** A schedule with a fresh certificate of an hour, at 0. */
function fresh(random = MIDDLE, lifetimeMs = HOUR_MS): RenewalSchedule {
  const schedule = new RenewalSchedule({}, random, 0);
  schedule.handle({ type: 'certificateTaken', lifetimeMs, remainingMs: lifetimeMs }, 0);
  assert.deepEqual(kinds(schedule), []);
  return schedule;
}

test('asks at half life, within the jitter', () => {
  for (const [chance, share] of [
    [0, 0.45],
    [0.5, 0.5],
    [0.999, 0.55],
  ] as const) {
    const due = fresh({ next: () => chance }).nextTimeout() ?? 0;
    assert.ok(Math.abs(due - share * HOUR_MS) < 0.001 * HOUR_MS, `${due}`);
  }
});

test('a certificate that was loaded late is renewed at once', () => {
  const schedule = new RenewalSchedule({}, MIDDLE, 1_000);
  schedule.handle({ type: 'certificateTaken', lifetimeMs: HOUR_MS, remainingMs: HOUR_MS * 0.4 }, 1_000);
  assert.deepEqual(kinds(schedule), ['renew']);
});

test('one that is over is reported, and not used for asking', () => {
  const schedule = new RenewalSchedule({}, MIDDLE, 0);
  schedule.handle({ type: 'certificateTaken', lifetimeMs: HOUR_MS, remainingMs: -5 }, 0);
  assert.deepEqual(kinds(schedule), ['raiseAlarm', 'reportExpiry']);
  assert.equal(schedule.status().state, 'expired');
  assert.equal(schedule.nextTimeout(), undefined);
});

test('tries again after failures with growing pauses, at most half a minute', () => {
  const schedule = fresh();
  let now = schedule.nextTimeout() ?? 0;
  schedule.handle({ type: 'timeout' }, now);
  const pauses: number[] = [];
  for (let failures = 0; failures < 10; failures += 1) {
    assert.deepEqual(kinds(schedule), ['renew']);
    schedule.handle({ type: 'renewalFailed', detail: 'no answer' }, now);
    pauses.push((schedule.nextTimeout() ?? 0) - now);
    now = schedule.nextTimeout() ?? 0;
    schedule.handle({ type: 'timeout' }, now);
  }
  assert.deepEqual(pauses.slice(0, 4), [375, 750, 1_500, 3_000]);
  assert.equal(pauses.at(-1), 22_500);
});

test('waits as long as the registry asked for', () => {
  const schedule = fresh();
  const now = schedule.nextTimeout() ?? 0;
  schedule.handle({ type: 'timeout' }, now);
  schedule.handle({ type: 'renewalFailed', detail: 'too many', retryAfterMs: 20_000 }, now);
  assert.equal(schedule.nextTimeout(), now + 20_000);
});

test('raises one alarm at two thirds of the life, and takes it back with a new certificate', () => {
  const schedule = fresh();
  schedule.handle({ type: 'timeout' }, HOUR_MS / 2);
  assert.deepEqual(kinds(schedule), ['renew']);
  schedule.handle({ type: 'timeout' }, (HOUR_MS * 2) / 3);
  assert.deepEqual(effects(schedule), [
    { type: 'raiseAlarm', remainingMs: HOUR_MS / 3, detail: 'the renewal has not been answered' },
  ]);
  schedule.handle({ type: 'timeout' }, HOUR_MS * 0.7);
  assert.deepEqual(kinds(schedule), []);
  schedule.handle({ type: 'certificateTaken', lifetimeMs: HOUR_MS, remainingMs: HOUR_MS }, HOUR_MS * 0.8);
  assert.deepEqual(kinds(schedule), ['clearAlarm']);
});

test('a refusal is final: an alarm at once, no further attempt, then the end', () => {
  const schedule = fresh();
  schedule.handle({ type: 'timeout' }, HOUR_MS / 2);
  effects(schedule);
  schedule.handle({ type: 'renewalRefused', detail: 'locked' }, HOUR_MS / 2 + 1);
  assert.deepEqual(effects(schedule), [{ type: 'raiseAlarm', remainingMs: HOUR_MS / 2 - 1, detail: 'locked' }]);
  assert.equal(schedule.nextTimeout(), HOUR_MS);
  schedule.handle({ type: 'timeout' }, HOUR_MS);
  assert.deepEqual(kinds(schedule), ['reportExpiry']);
});

test('advice makes the renewal earlier, never at once after an issue, and never more often', () => {
  const schedule = fresh();
  schedule.handle({ type: 'renewalAdvised' }, 1);
  const due = schedule.nextTimeout() ?? 0;
  assert.ok(due >= 10_000 && due <= 15_000, `${due}`);
  for (let now = 2; now < 1_000; now += 1) schedule.handle({ type: 'renewalAdvised' }, now);
  assert.equal(schedule.nextTimeout(), due);
});

test('advice that comes while a renewal is under way is followed after it', () => {
  const schedule = fresh();
  schedule.handle({ type: 'timeout' }, HOUR_MS / 2);
  schedule.handle({ type: 'renewalAdvised' }, HOUR_MS / 2 + 1);
  schedule.handle({ type: 'certificateTaken', lifetimeMs: HOUR_MS, remainingMs: HOUR_MS }, HOUR_MS / 2 + 2);
  const due = (schedule.nextTimeout() ?? 0) - HOUR_MS / 2;
  assert.ok(due > 9_000 && due < 16_000, `${due}`);
});

test('a wall clock that was set moves what depends on it', () => {
  const schedule = fresh();
  schedule.handle({ type: 'clockSet', remainingMs: HOUR_MS / 4 }, 1_000);
  assert.deepEqual(kinds(schedule), ['raiseAlarm', 'renew']);
  schedule.handle({ type: 'clockSet', remainingMs: 0 }, 2_000);
  assert.deepEqual(kinds(schedule), ['reportExpiry']);
  schedule.handle({ type: 'clockSet', remainingMs: HOUR_MS / 2 }, 3_000);
  assert.deepEqual(kinds(schedule), ['renew']);
});

test('a wall clock that is set back a day, or on and back, puts no renewal off', () => {
  const schedule = fresh();
  const DAY_MS = 24 * HOUR_MS;
  for (let now = 10_000; now < HOUR_MS / 2; now += 10_000) {
    schedule.handle({ type: 'clockSet', remainingMs: HOUR_MS - now + DAY_MS }, now);
    assert.deepEqual(kinds(schedule), [], `${now}`);
    assert.ok(schedule.status().remainingMs <= HOUR_MS - now, 'for others it lives no longer');
  }
  schedule.handle({ type: 'timeout' }, HOUR_MS / 2);
  assert.deepEqual(kinds(schedule), ['renew']);
  schedule.handle({ type: 'renewalFailed', detail: 'not valid yet' }, HOUR_MS / 2);
  schedule.handle({ type: 'clockSet', remainingMs: HOUR_MS / 2 + DAY_MS }, HOUR_MS / 2 + 1);
  schedule.handle({ type: 'timeout' }, (HOUR_MS * 2) / 3);
  assert.ok(kinds(schedule).includes('raiseAlarm'));

  const other = fresh();
  other.handle({ type: 'clockSet', remainingMs: HOUR_MS - DAY_MS }, 1_000);
  assert.deepEqual(kinds(other), ['raiseAlarm', 'reportExpiry']);
  other.handle({ type: 'clockSet', remainingMs: HOUR_MS - 2_000 }, 2_000);
  assert.deepEqual(kinds(other), ['renew']);
  assert.equal(other.status().remainingMs, HOUR_MS - 2_000);
});

test('whatever happens, while a certificate is alive and not refused an attempt is under way or due before its end', () => {
  const event = fc.oneof<fc.Arbitrary<RenewalEvent>[]>(
    fc.record({
      type: fc.constant('certificateTaken' as const),
      lifetimeMs: fc.integer({ min: 10_000, max: HOUR_MS }),
      remainingMs: fc.integer({ min: -MINUTE_MS, max: 2 * HOUR_MS }),
    }),
    fc.record({
      type: fc.constant('renewalFailed' as const),
      detail: fc.constant('x'),
      retryAfterMs: fc.nat(MINUTE_MS),
    }),
    fc.constant({ type: 'renewalAdvised' as const }),
    fc.record({ type: fc.constant('clockSet' as const), remainingMs: fc.integer({ min: -1, max: HOUR_MS }) }),
    fc.constant({ type: 'timeout' as const }),
  );
  fc.assert(
    fc.property(
      fc.array(fc.tuple(event, fc.nat(MINUTE_MS)), { maxLength: 50 }),
      fc.double({ min: 0, max: 0.99, noNaN: true }),
      (events, chance) => {
        const schedule = new RenewalSchedule({}, { next: () => chance }, 0);
        let now = 0;
        let asked = false;
        for (const [each, passed] of events) {
          now += passed;
          schedule.handle(each, now);
          if (each.type === 'renewalFailed' || each.type === 'certificateTaken') asked = false;
          for (const effect of effects(schedule)) if (effect.type === 'renew') asked = true;
          const { state, remainingMs, nextAttemptMs } = schedule.status();
          if (state === 'fresh' || state === 'waiting') {
            assert.ok(nextAttemptMs !== undefined && (nextAttemptMs < remainingMs || nextAttemptMs <= 30_000), state);
            assert.ok((schedule.nextTimeout() ?? Infinity) > now, 'what is due was done');
          }
          if (state === 'renewing') assert.ok(asked);
        }
      },
    ),
    { numRuns: 500 },
  );
});
