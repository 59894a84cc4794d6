import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fixedRandom, seededRandom } from '../testing/random.ts';
import { ServingCheck, type ServingEffect, type ServingEvent } from './serving-check.ts';

const CONFIG = { intervalMs: 15_000, timeoutMs: 5_000, retryMs: 1_000, failures: 3 };

class Bench {
  readonly check: ServingCheck;
  now = 0;

  constructor(random = fixedRandom(0.5)) {
    this.check = new ServingCheck(CONFIG, random, 0);
  }

  tell(event: ServingEvent): ServingEffect[] {
    this.check.handle(event, this.now);
    const all: ServingEffect[] = [];
    for (let effect = this.check.pollEffect(); effect !== undefined; effect = this.check.pollEffect()) all.push(effect);
    return all;
  }

  /** Fires the next timeout, late by `lagMs`. */
  fire(lagMs = 0): ServingEffect[] {
    this.now = (this.check.nextTimeout() ?? Number.NaN) + lagMs;
    return this.tell({ type: 'timeout' });
  }
}

function probeOf(effects: readonly ServingEffect[]): number {
  const sent = effects.find((effect) => effect.type === 'sendProbe');
  assert.ok(sent !== undefined, `a probe was sent: ${JSON.stringify(effects)}`);
  return sent.probe;
}

test('asks for nothing while the tunnel holds no claim', () => {
  const bench = new Bench();
  assert.deepEqual(bench.tell({ type: 'dialUnanswered' }), []);
  assert.equal(bench.check.nextTimeout(), undefined);
});

test('asks at its interval while every probe is answered', () => {
  const bench = new Bench();
  bench.tell({ type: 'claimGranted', suspect: false });
  for (let round = 1; round <= 5; round += 1) {
    const askedAt = bench.check.nextTimeout();
    assert.equal(askedAt, bench.now + CONFIG.intervalMs);
    const probe = probeOf(bench.fire());
    bench.now += 20;
    assert.deepEqual(bench.tell({ type: 'probeAnswered', probe }), []);
  }
  assert.deepEqual(bench.check.status(), { state: 'resting', failures: 0 });
});

test('A14: three probes in a row without an answer are enough, and it is said once', () => {
  const bench = new Bench();
  bench.tell({ type: 'claimGranted', suspect: false });
  const startedAt = bench.check.nextTimeout() ?? Number.NaN;
  for (const failures of [1, 2]) {
    const probe = probeOf(bench.fire());
    assert.deepEqual(bench.fire(), [{ type: 'dropProbe', probe }]);
    assert.equal(bench.check.status().failures, failures);
  }
  const probe = probeOf(bench.fire());
  assert.deepEqual(bench.fire(), [
    { type: 'dropProbe', probe },
    { type: 'reportUnserved', failures: 3 },
  ]);
  assert.equal(bench.now - startedAt, 3 * CONFIG.timeoutMs + 2 * CONFIG.retryMs);
  assert.deepEqual(bench.tell({ type: 'claimGranted', suspect: false }), []);
  assert.equal(bench.check.nextTimeout(), undefined);
});

test('an answer in between begins the count anew, and an answer to an older probe counts for nothing', () => {
  const bench = new Bench();
  bench.tell({ type: 'claimGranted', suspect: false });
  const first = probeOf(bench.fire());
  bench.fire();
  const second = probeOf(bench.fire());
  bench.tell({ type: 'probeAnswered', probe: first });
  assert.deepEqual(bench.check.status(), { state: 'asking', failures: 1 });
  bench.tell({ type: 'probeAnswered', probe: second });
  assert.equal(bench.check.status().failures, 0);
});

test('A14: who was found out lately is asked at once, and one failure is enough until it has answered', () => {
  const bench = new Bench();
  const probe = probeOf(bench.tell({ type: 'claimGranted', suspect: true }));
  assert.deepEqual(bench.tell({ type: 'probeFailed', probe }), [{ type: 'reportUnserved', failures: 1 }]);

  const reformed = new Bench();
  const asked = probeOf(reformed.tell({ type: 'claimGranted', suspect: true }));
  reformed.tell({ type: 'probeAnswered', probe: asked });
  reformed.tell({ type: 'probeFailed', probe: probeOf(reformed.fire()) });
  assert.equal(reformed.check.status().state, 'resting');
});

test('a dial without an answer brings the next probe forward, however many there are', () => {
  const bench = new Bench();
  bench.tell({ type: 'claimGranted', suspect: false });
  bench.now = 100;
  for (let dial = 0; dial < 50; dial += 1) bench.tell({ type: 'dialUnanswered' });
  assert.equal(bench.check.nextTimeout(), 100 + CONFIG.retryMs);
  probeOf(bench.fire());
  assert.deepEqual(bench.tell({ type: 'dialUnanswered' }), []);
});

test('blames nobody for a failure that it noticed late itself', () => {
  const bench = new Bench();
  bench.tell({ type: 'claimGranted', suspect: false });
  const late = probeOf(bench.fire());
  const effects = bench.fire(501);
  assert.deepEqual(effects[0], { type: 'dropProbe', probe: late });
  assert.ok(probeOf(effects) > late);
  assert.equal(bench.check.status().failures, 0);
});

test('forgets what it asked when the claim ends', () => {
  const bench = new Bench();
  bench.tell({ type: 'claimGranted', suspect: false });
  const probe = probeOf(bench.fire());
  assert.deepEqual(bench.tell({ type: 'claimEnded' }), [{ type: 'dropProbe', probe }]);
  assert.deepEqual(bench.check.status(), { state: 'idle', failures: 0 });
});

test('refuses a configuration that cannot work', () => {
  for (const bad of [{ intervalMs: 0 }, { timeoutMs: Number.NaN }, { retryMs: -1 }, { failures: 0 }])
    assert.throws(() => new ServingCheck({ ...CONFIG, ...bad }, fixedRandom(0), 0), RangeError);
});

test('whatever happens: one probe at a time, each ended once, and an agent that answers in time is never blamed', () => {
  const steps = fc.array(fc.record({ kind: fc.nat(9), waitMs: fc.nat(9_000), lagMs: fc.nat(2_000) }), {
    maxLength: 80,
  });
  fc.assert(
    fc.property(fc.nat(), steps, fc.boolean(), (seed, script, honest) => {
      const bench = new Bench(seededRandom(seed));
      const out = new Set<number>();
      const take = (effects: readonly ServingEffect[]): void => {
        for (const effect of effects) {
          if (effect.type === 'sendProbe') out.add(effect.probe);
          if (effect.type === 'dropProbe') assert.ok(out.delete(effect.probe), 'drops what is out');
          if (effect.type === 'reportUnserved') assert.ok(!honest, 'an honest agent was blamed');
          assert.ok(out.size <= 1, 'one probe at a time');
        }
        if (!honest) return;
        for (const probe of [...out]) {
          out.delete(probe);
          take(bench.tell({ type: 'probeAnswered', probe }));
        }
      };
      for (const { kind, waitMs, lagMs } of script) {
        const until = bench.now + waitMs;
        for (let due = bench.check.nextTimeout(); due !== undefined && due <= until; due = bench.check.nextTimeout())
          take(bench.fire(lagMs));
        bench.now = Math.max(bench.now, until);
        if (kind < 3) take(bench.tell({ type: 'claimGranted', suspect: kind === 0 }));
        else if (kind < 4) take(bench.tell({ type: 'claimEnded' }));
        else if (kind < 7) take(bench.tell({ type: 'dialUnanswered' }));
        else {
          const [probe] = out;
          if (probe === undefined) continue;
          out.delete(probe);
          take(bench.tell({ type: kind < 8 ? 'probeAnswered' : 'probeFailed', probe }));
        }
      }
    }),
    { numRuns: 300 },
  );
});
