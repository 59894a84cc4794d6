import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fixedRandom, seededRandom } from '../testing/random.ts';
import { Liveness, type LivenessEffect } from './liveness.ts';

const CONFIG = { intervalMs: 5_000, deadAfterMs: 10_000 };

function effects(liveness: Liveness): LivenessEffect[] {
  const all: LivenessEffect[] = [];
  for (let effect = liveness.pollEffect(); effect !== undefined; effect = liveness.pollEffect()) all.push(effect);
  return all;
}

/** Fires the next timeout, late by `lagMs`, and returns the instant and what came of it. */
function fire(liveness: Liveness, lagMs = 0): { at: number; effects: LivenessEffect[] } {
  const at = (liveness.nextTimeout() ?? Number.NaN) + lagMs;
  liveness.handle({ type: 'timeout' }, at);
  return { at, effects: effects(liveness) };
}

function pingOf(list: readonly LivenessEffect[]): bigint {
  const ping = list.find((effect) => effect.type === 'sendPing');
  assert.ok(ping !== undefined, 'a PING was sent');
  return ping.nonce;
}

test('pings at its interval while every PING is answered', () => {
  const liveness = new Liveness(CONFIG, fixedRandom(0.5), 0);
  let expected = 2_500;
  for (let round = 0; round < 10; round += 1) {
    const { at, effects: done } = fire(liveness);
    assert.equal(at, expected);
    liveness.handle({ type: 'pongReceived', nonce: pingOf(done) }, at + 20);
    assert.equal(liveness.status().roundTripMs, 20);
    expected = at + 20 + CONFIG.intervalMs;
  }
  assert.equal(liveness.status().state, 'watching');
});

test('declares a silent peer dead once, within deadAfterMs of its last sign of life', () => {
  const liveness = new Liveness(CONFIG, fixedRandom(0), 0);
  liveness.handle({ type: 'pongReceived', nonce: pingOf(fire(liveness).effects) }, 10);
  fire(liveness);
  const { at, effects: done } = fire(liveness);
  assert.deepEqual(done, [{ type: 'declareDead', silentMs: at - 10 }]);
  assert.equal(at, 10 + CONFIG.deadAfterMs);
  assert.equal(liveness.nextTimeout(), undefined);
  liveness.handle({ type: 'challengeRequested' }, at + 1);
  assert.deepEqual(effects(liveness), []);
});

test('a PONG with a wrong nonce is no sign of life', () => {
  const liveness = new Liveness(CONFIG, fixedRandom(0), 0);
  const nonce = pingOf(fire(liveness).effects);
  for (const wrong of [nonce + 1n, 0n, 2n ** 64n - 1n]) liveness.handle({ type: 'pongReceived', nonce: wrong }, 100);
  assert.equal(liveness.status().state, 'waiting');
  assert.equal(liveness.status().lastHeardAt, 0);
  assert.equal(fire(liveness).effects[0]?.type, 'declareDead');
});

test('when its own timer fires late it asks again before it blames, and stretches', () => {
  const liveness = new Liveness(CONFIG, fixedRandom(0), 0);
  fire(liveness);
  const late = fire(liveness, 30_000);
  assert.deepEqual(
    late.effects.map((effect) => effect.type),
    ['sendPing'],
  );
  assert.equal(liveness.status().stretch, 2);
  liveness.handle({ type: 'pongReceived', nonce: pingOf(late.effects) }, late.at + 5);
  assert.equal(liveness.status().state, 'watching');
  for (let round = 0; round < 5; round += 1) fire(liveness, 600);
  assert.equal(liveness.status().stretch, 8, 'eightfold is the most');
});

test('the stretch decays as the own timers come on time', () => {
  const liveness = new Liveness(CONFIG, fixedRandom(0), 0);
  fire(liveness);
  let last = fire(liveness, 5_000);
  assert.equal(liveness.status().stretch, 2);
  liveness.handle({ type: 'pongReceived', nonce: pingOf(last.effects) }, last.at);
  last = fire(liveness);
  assert.equal(liveness.status().stretch, 1);
  assert.equal(last.effects[0]?.type, 'sendPing');
});

test('a challenge is answered by a PONG to a later PING only', () => {
  const liveness = new Liveness(CONFIG, fixedRandom(0), 0);
  const old = pingOf(fire(liveness).effects);
  liveness.handle({ type: 'challengeRequested' }, 50);
  const fresh = pingOf(effects(liveness));
  liveness.handle({ type: 'pongReceived', nonce: old }, 60);
  assert.deepEqual(effects(liveness), []);
  liveness.handle({ type: 'pongReceived', nonce: fresh }, 70);
  assert.deepEqual(effects(liveness), [{ type: 'reportAlive' }]);
});

test('challenges cannot keep a dead tunnel alive', () => {
  const liveness = new Liveness(CONFIG, fixedRandom(0), 0);
  fire(liveness);
  let dead: number | undefined;
  for (let now = 0; now < 60_000 && dead === undefined; now += 100) {
    liveness.handle(now % 500 === 0 ? { type: 'challengeRequested' } : { type: 'timeout' }, now);
    if (effects(liveness).some((effect) => effect.type === 'declareDead')) dead = now;
  }
  assert.ok(dead !== undefined && dead <= CONFIG.deadAfterMs + 100, `dead at ${dead}`);
});

test('whatever comes in, a deadline is always set until the peer is dead, and dead is final', () => {
  const step = fc.record({ kind: fc.nat(2), pick: fc.nat(20), waitMs: fc.nat(12_000) });
  fc.assert(
    fc.property(fc.nat(), fc.array(step, { maxLength: 80, size: 'max' }), (seed, script) => {
      const liveness = new Liveness(CONFIG, seededRandom(seed), 0);
      const nonces: bigint[] = [];
      let now = 0;
      let deaths = 0;
      for (const { kind, pick, waitMs } of script) {
        now += waitMs;
        const nonce = nonces[pick % Math.max(1, nonces.length)] ?? 5n;
        if (kind === 0) liveness.handle({ type: 'timeout' }, now);
        else liveness.handle(kind === 1 ? { type: 'pongReceived', nonce } : { type: 'challengeRequested' }, now);
        for (const effect of effects(liveness)) {
          if (effect.type === 'sendPing') nonces.push(effect.nonce);
          if (effect.type === 'declareDead') deaths += 1;
        }
        assert.equal(liveness.nextTimeout() === undefined, deaths === 1);
      }
      assert.ok(deaths <= 1);
      assert.equal(new Set(nonces).size, nonces.length, 'no nonce is used twice');
    }),
  );
});

test('refuses an interval of nothing', () => {
  assert.throws(() => new Liveness({ intervalMs: 0, deadAfterMs: 1 }, fixedRandom(0), 0), RangeError);
});
