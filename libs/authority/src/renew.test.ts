import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { identityKey, revocationKey } from './keys.ts';
import { decodeRevocation, encodeRecord } from './records.ts';
import { clonePlan, decideRenewal, renewalPlan, revokePlan, unlockPlan } from './renew.ts';
import type { RenewAsk } from './renew.ts';
import { Records } from './testing/records.ts';
import type { IdentityRecord } from './types.ts';

const NOW = 1_790_000_000_000;
const HOUR_MS = 3_600_000;
const HALF_LIFE_MS = HOUR_MS / 2;
const NAME = 'leaf/berlin/agent/a1';

/** Somebody with a key and a certificate. */
interface Holder {
  key: string;
  issuedAtMs: number;
  generation: number;
}

function joined(): { readonly records: Records; readonly holder: Holder } {
  const records = new Records();
  const record: IdentityRecord = {
    identity: NAME,
    generation: 1,
    key: 'k1',
    previousKey: '',
    issuedAtMs: NOW,
    notAfterMs: NOW + HOUR_MS,
    root: 'root',
    trust: 1,
    lock: undefined,
  };
  records.put(identityKey(NAME), encodeRecord(record));
  return { records, holder: { key: 'k1', issuedAtMs: NOW, generation: 1 } };
}

function ask(holder: Holder, key: string): RenewAsk {
  const { generation, issuedAtMs } = holder;
  return { identity: NAME, shown: { key: holder.key, issuedAtMs }, key, generation };
}

/** One renewal as the shell does it; the holder has what was answered unless the answer is lost. */
function renew(records: Records, holder: Holder, key: string, nowMs: number, lost = false): string {
  const wanted = ask(holder, key);
  const identity = records.identity(NAME);
  const decision = decideRenewal(wanted, identity, records.revocation(NAME));
  if (decision.kind === 'cloned') {
    assert.ok(records.commit(clonePlan(identity, nowMs, HOUR_MS)));
    return 'cloned';
  }
  if (decision.kind === 'refused') return decision.code;
  const facts = { key, issuedAtMs: nowMs, notAfterMs: nowMs + HOUR_MS, root: 'root', trust: 1 };
  assert.ok(records.commit(renewalPlan(decision, identity, holder.key, facts)));
  if (!lost) Object.assign(holder, { key, issuedAtMs: nowMs, generation: decision.generation });
  return `generation ${decision.generation}`;
}

test('each renewal raises the generation', () => {
  const { records, holder } = joined();
  assert.equal(renew(records, holder, 'k2', NOW + 1), 'generation 2');
  assert.equal(renew(records, holder, 'k3', NOW + 2), 'generation 3');
});

test('an answer that was lost is given again for the same key', () => {
  const { records, holder } = joined();
  assert.equal(renew(records, holder, 'k2', NOW + 1, true), 'generation 2');
  assert.equal(renew(records, holder, 'k2', NOW + 2), 'generation 2');
  assert.equal(renew(records, holder, 'k3', NOW + 3), 'generation 3');
});

test('a request for the key of the shown certificate is refused', () => {
  const { records, holder } = joined();
  assert.equal(renew(records, holder, 'k1', NOW + 1), 'invalid');
});

test('A6: a copied key locks both, whoever comes first and whatever they claim', () => {
  for (const claimed of [0, 1, 2, 3, 2 ** 50]) {
    const { records, holder } = joined();
    const thief = { ...holder, generation: claimed };
    assert.equal(renew(records, holder, 'k2', NOW + HALF_LIFE_MS), 'generation 2');
    assert.equal(renew(records, thief, 't2', NOW + HALF_LIFE_MS + 1), 'cloned');
    assert.equal(renew(records, holder, 'k3', NOW + HALF_LIFE_MS + 2), 'locked');
    assert.equal(renew(records, thief, 't3', NOW + HALF_LIFE_MS + 3), 'locked');
    assert.equal(records.revocation(NAME)?.beforeMs, NOW + HALF_LIFE_MS + 1);
  }
});

test('after an unlock the certificates from before it stay refused', () => {
  const { records, holder } = joined();
  const thief = { ...holder };
  renew(records, holder, 'k2', NOW + 1_000);
  renew(records, thief, 't2', NOW + 2_000);
  const unlock = unlockPlan(records.identity(NAME), NOW + 3_000);
  assert.ok(unlock !== undefined && records.commit(unlock));
  assert.equal(renew(records, holder, 'k3', NOW + 4_000), 'revoked');
  assert.equal(renew(records, thief, 't3', NOW + 5_000), 'revoked');
  assert.equal(records.identity(NAME).record?.lock, undefined);
});

test('a revocation reaches the newest certificate, given by a clock that is ahead or for longer than is usual now', () => {
  const { records } = joined();
  const identity = records.identity(NAME);
  assert.ok(identity.record !== undefined);
  const ahead = { ...identity.record, issuedAtMs: NOW + 30_000, notAfterMs: NOW + 5 * HOUR_MS };
  const plan = revokePlan(NAME, { ...identity, record: ahead }, 'lost', NOW, HOUR_MS);
  const step = plan.steps.find(({ key }) => key === revocationKey(NAME));
  assert.ok(step?.type === 'putFor');
  assert.equal(decodeRevocation(step.value)?.beforeMs, NOW + 30_001);
  assert.equal(step.ttlMs, 5 * HOUR_MS);
});

test('goes on after the store was restored from an older backup, and a copy is still noticed', () => {
  const { records, holder } = joined();
  const thief = { ...holder };
  const restore = records.backup();
  renew(records, holder, 'k2', NOW + HALF_LIFE_MS);
  renew(records, holder, 'k3', NOW + 2 * HALF_LIFE_MS);
  restore();
  assert.equal(renew(records, holder, 'k4', NOW + 3 * HALF_LIFE_MS), 'generation 4');
  assert.equal(renew(records, thief, 't2', NOW + 3 * HALF_LIFE_MS + 1), 'cloned');
});

test("an issue within the clocks' tolerance of the record is neither believed nor punished", () => {
  const { records, holder } = joined();
  const restore = records.backup();
  renew(records, holder, 'k2', NOW + 5_000);
  renew(records, holder, 'k3', NOW + 10_000);
  restore();
  assert.equal(renew(records, holder, 'k4', NOW + 15_000), 'generation');
  assert.equal(records.identity(NAME).record?.lock, undefined);
});

test('an honest holder is never locked, whatever answers are lost; a thief is noticed at the second renewal at the latest', () => {
  const step = fc.record({ who: fc.constantFrom('holder', 'thief'), lost: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), fc.boolean(), (steps, stolen) => {
      const { records, holder } = joined();
      const thief = { ...holder };
      const next = new Map<string, string>();
      let now = NOW;
      let done = new Set<string>();
      for (const [index, { who, lost }] of steps.entries()) {
        if (who === 'thief' && !stolen) continue;
        now += HALF_LIFE_MS;
        const self = who === 'holder' ? holder : thief;
        // As IdentityFolder keeps it: the key of a request stays the same until it was answered.
        const key = next.get(who) ?? `${who}-${index}`;
        next.set(who, key);
        const result = renew(records, self, key, now, lost);
        if (!lost && result.startsWith('generation')) next.delete(who);
        if (!stolen) assert.match(result, /^generation/);
        else if (result.startsWith('generation')) {
          done = new Set([...done, who]);
          assert.ok(done.size < 2, 'both renewed with one key');
        }
      }
    }),
    { numRuns: 500 },
  );
});
