import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { loginPlan } from './login.ts';
import { decodeIdentity } from './records.ts';
import { behind, firstTrust, stepForward } from './rotation.ts';
import type { IdentityRecord } from './types.ts';

const NOW = 1_790_000_000_000;
const HOUR_MS = 3_600_000;
const LIFE_MS = 12 * HOUR_MS;
const GRANT = { kind: 'granted', identity: 'user/alice', generation: 1, repeat: false } as const;

/** The record after a login that gives a certificate under this root and trust. */
function login(before: IdentityRecord | undefined, atMs: number, root: string, trust: number): IdentityRecord {
  const read = { key: 'k', record: before, modRevision: 0n, lease: 0n };
  const issued = { key: `k${atMs}`, issuedAtMs: atMs, notAfterMs: atMs + LIFE_MS, root, trust };
  const [step] = loginPlan(GRANT, read, issued, atMs).steps;
  assert.ok(step?.type === 'put');
  const record = decodeIdentity(step.value);
  assert.ok(record !== undefined);
  return record;
}

const TRUSTED = stepForward(
  stepForward(firstTrust({ fingerprint: 'A', pem: 'A', notAfterMs: NOW }), {
    fingerprint: 'B',
    pem: 'B',
    notAfterMs: NOW,
  }),
  undefined,
);

test('whoever logs in again and again is behind no longer than the last certificate from before', () => {
  let record = login(undefined, NOW, 'A', 1);
  let until = 0;
  for (let hours = 1; hours < 40; hours += 1) {
    const now = NOW + hours * HOUR_MS;
    record = login(record, now, 'A', 2);
    if (behind(TRUSTED, [record], 'forward', now).users.length > 0) until = now;
  }
  assert.ok(until <= NOW + LIFE_MS, `behind until ${(until - NOW) / HOUR_MS} h`);
  assert.equal(record.earlier, undefined);
});

test('a login that is shorter than the one before under the same trust leaves its end', () => {
  const first = login(undefined, NOW, 'A', 1);
  const read = { key: 'k', record: first, modRevision: 0n, lease: 0n };
  const short = { key: 'k', issuedAtMs: NOW + 1, notAfterMs: NOW + HOUR_MS, root: 'A', trust: 1 };
  const [step] = loginPlan(GRANT, read, short, NOW + 1).steps;
  assert.ok(step?.type === 'put');
  assert.equal(decodeIdentity(step.value)?.notAfterMs, NOW + LIFE_MS);
});

test('whatever the order of logins, a certificate that is alive and behind is counted', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(8), fc.nat(1)), { minLength: 1, maxLength: 12 }), (logins) => {
      let now = NOW;
      let trust = 1;
      let record: IdentityRecord | undefined;
      const given: { trust: number; end: number }[] = [];
      for (const [hours, rise] of logins) {
        now += hours * HOUR_MS;
        trust = Math.min(2, trust + rise);
        record = login(record, now, 'A', trust);
        given.push({ trust, end: now + LIFE_MS });
      }
      assert.ok(record !== undefined);
      const isBehind = given.some((each) => each.trust < 2 && each.end > now);
      const { users, usersUntilMs } = behind(TRUSTED, [record], 'forward', now);
      assert.equal(users.length > 0, isBehind);
      const last = given.filter((each) => each.trust < 2 && each.end > now).map(({ end }) => end);
      if (isBehind) assert.equal(usersUntilMs, Math.max(...last) + 60_000);
    }),
  );
});
