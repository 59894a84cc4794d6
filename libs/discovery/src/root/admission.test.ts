import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { HandshakeAdmission } from './admission.ts';

/** When the handshakes of these arrivals begin; undefined for those that are shed. */
function begins(arrivals: readonly number[], handshakesPerSecond: number, maxWaitMs: number): (number | undefined)[] {
  const admission = new HandshakeAdmission({ handshakesPerSecond, maxWaitMs }, 0);
  return arrivals.map((at) => {
    const wait = admission.arrive(at);
    return wait === undefined ? undefined : at + wait;
  });
}

const arrivals = fc
  .array(fc.double({ min: 0, max: 200, noNaN: true }), { maxLength: 300 })
  .map((gaps) => gaps.reduce<number[]>((times, gap) => [...times, (times.at(-1) ?? 0) + gap ** 2 / 100], []));
const rate = fc.integer({ min: 1, max: 200 });

suite('admission of handshakes', () => {
  test('begins no more within any one second than it may, however they come', () => {
    fc.assert(
      fc.property(arrivals, rate, (times, perSecond) => {
        const begun = begins(times, perSecond, 5_000).filter((at) => at !== undefined);
        for (const [index, at] of begun.entries()) {
          const within = begun.slice(index).filter((other) => other < at + 1_000).length;
          assert.ok(within <= perSecond, `${String(within)} within a second from ${String(at)}`);
        }
      }),
    );
  });

  test('keeps nobody waiting longer than it may, and begins them in the order in which they came', () => {
    fc.assert(
      fc.property(arrivals, rate, (times, perSecond) => {
        let last = 0;
        for (const [index, at] of begins(times, perSecond, 3_000).entries()) {
          if (at === undefined) continue;
          assert.ok(at >= last && at - (times[index] ?? 0) <= 3_000);
          last = at;
        }
      }),
    );
  });

  test('lets a few come at once after a rest, and the next evenly', () => {
    assert.deepEqual(begins([10_000, 10_000, 10_000, 10_000], 10, 5_000), [10_000, 10_000, 10_125, 10_250]);
  });

  test('sheds when the line is full, and takes again when it has moved on', () => {
    const admission = new HandshakeAdmission({ handshakesPerSecond: 10, maxWaitMs: 500 }, 0);
    const waits = Array.from({ length: 8 }, () => admission.arrive(0));
    assert.deepEqual(waits, [0, 125, 250, 375, 500, undefined, undefined, undefined]);
    assert.deepEqual(admission.status(0), { admittedTotal: 5, shedTotal: 3, waitMs: 625 });
    assert.equal(admission.arrive(1_000), 0);
  });

  test('refuses a rate or a wait that means nothing, naming it', () => {
    assert.throws(() => new HandshakeAdmission({ handshakesPerSecond: 0, maxWaitMs: 1 }, 0), /handshakesPerSecond/);
    assert.throws(() => new HandshakeAdmission({ handshakesPerSecond: 1, maxWaitMs: -1 }, 0), /maxWaitMs/);
  });
});
