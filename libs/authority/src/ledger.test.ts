import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TRUST_KEY, identityKey, revocationKey, tokenKey, userKey } from './keys.ts';
import { Ledger } from './ledger.ts';
import { encodeRecord } from './records.ts';
import { firstTrust, stepForward } from './rotation.ts';
import type { IdentityRecord, TokenRecord, TrustRecord } from './types.ts';

const NOW = 1_790_000_000_000;
const KEEP_MS = 3_600_000;
const TOKEN: TokenRecord = {
  hash: 'h',
  role: 'agent',
  leaf: 'berlin',
  name: '',
  expiresAtMs: NOW + 600_000,
  createdBy: 'user/admin@r1',
  sources: [],
  used: undefined,
};
const JOINED: IdentityRecord = {
  identity: 'proxy/p1',
  generation: 3,
  key: 'k3',
  previousKey: 'k2',
  issuedAtMs: NOW - 1_000,
  notAfterMs: NOW + KEEP_MS,
  root: 'A',
  trust: 1,
  lock: undefined,
};
const P1 = identityKey('proxy/p1');

function root(name: string): { fingerprint: string; pem: string; notAfterMs: number } {
  return { fingerprint: name, pem: name, notAfterMs: NOW };
}

function revocation(beforeMs: number): string {
  return encodeRecord({ identity: 'proxy/p1', beforeMs, reason: 'lost' });
}

function locked(change: Partial<IdentityRecord> = {}): string {
  return encodeRecord({ ...JOINED, lock: { kind: 'revoked', atMs: NOW, reason: 'lost' }, ...change });
}

function user(disabled: boolean, changedAtMs: number): string {
  return JSON.stringify({ name: 'alice', groups: [], disabled, changedBy: 'x', changedAtMs });
}

/** Keys whose values in `found` are from before what `seen` has shown. */
function lost(seen: readonly (readonly [string, string])[], found: readonly (readonly [string, string])[]): string[] {
  const ledger = new Ledger(KEEP_MS);
  for (const [key, value] of seen) ledger.note(key, value);
  return ledger.lost(new Map(found), NOW).map(({ key }) => key);
}

test('a revocation that is gone, or earlier, is lost; one that is later is news', () => {
  const key = revocationKey('proxy/p1');
  assert.deepEqual(lost([[key, revocation(NOW)]], []), [key]);
  assert.deepEqual(lost([[key, revocation(NOW)]], [[key, revocation(NOW - 1)]]), [key]);
  assert.deepEqual(lost([[key, revocation(NOW)]], [[key, revocation(NOW)]]), []);
  assert.deepEqual(lost([[key, revocation(NOW)]], [[key, revocation(NOW + 1)]]), []);
});

test('a revocation matters as long as certificates from before it can live', () => {
  const key = revocationKey('proxy/p1');
  const ledger = new Ledger(KEEP_MS);
  assert.ok(ledger.note(key, revocation(NOW)));
  assert.equal(ledger.contradicted(key, undefined, NOW + KEEP_MS - 1)?.untilMs, NOW + KEEP_MS);
  assert.equal(ledger.contradicted(key, undefined, NOW + KEEP_MS), undefined);
  assert.deepEqual(ledger.entries(NOW + KEEP_MS), []);
});

test('what is seen to end, by its lease or by hand, is not lost', () => {
  const key = revocationKey('proxy/p1');
  const ledger = new Ledger(KEEP_MS);
  ledger.note(key, revocation(NOW));
  assert.ok(ledger.note(key, undefined));
  assert.deepEqual(ledger.lost(new Map(), NOW), []);
});

test('a token that was used is never fresh again, and matters no more when it is gone', () => {
  const key = tokenKey('h');
  const used = encodeRecord({ ...TOKEN, used: { identity: 'leaf/berlin/agent/a1', key: 'k' } });
  assert.deepEqual(lost([[key, used]], [[key, encodeRecord(TOKEN)]]), [key]);
  assert.deepEqual(lost([[key, used]], []), []);
  assert.deepEqual(lost([[key, encodeRecord(TOKEN)]], []), [], 'one that was not used is nothing to remember');
});

test('a lock is lost with its record or to one from before; not to whoever unlocked it or joined since', () => {
  const unlocked = encodeRecord({ ...JOINED, key: '', previousKey: '', notAfterMs: NOW });
  const again = encodeRecord({ ...JOINED, key: 'k4', issuedAtMs: NOW + 1_000 });
  assert.deepEqual(lost([[P1, locked()]], []), [P1]);
  assert.deepEqual(lost([[P1, locked()]], [[P1, encodeRecord(JOINED)]]), [P1]);
  assert.deepEqual(lost([[P1, locked()]], [[P1, unlocked]]), []);
  assert.deepEqual(lost([[P1, locked()]], [[P1, again]]), []);
  assert.deepEqual(
    lost(
      [
        [P1, locked()],
        [P1, unlocked],
      ],
      [[P1, encodeRecord(JOINED)]],
    ),
    [],
    'once unlocked it is forgotten',
  );
});

test('who was disabled stays so until somebody changes that afterwards', () => {
  const key = userKey('alice');
  assert.deepEqual(lost([[key, user(true, NOW)]], [[key, user(false, NOW - 1)]]), [key]);
  assert.deepEqual(lost([[key, user(true, NOW)]], [[key, user(false, NOW + 1)]]), []);
  assert.deepEqual(lost([[key, user(true, NOW)]], []), []);
  assert.deepEqual(lost([[key, user(false, NOW)]], [[key, user(true, NOW - 1)]]), []);
});

test('trust never goes back, and is not forgotten when it is deleted', () => {
  const steady = firstTrust(root('A'));
  const trusted = stepForward(stepForward(steady, root('B')), undefined);
  const ledger = new Ledger(KEEP_MS);
  for (const trust of [steady, trusted]) assert.ok(ledger.note(TRUST_KEY, encodeRecord(trust)));
  assert.equal(ledger.note(TRUST_KEY, undefined), false);
  assert.equal(ledger.note(TRUST_KEY, encodeRecord(steady)), false);
  for (const found of [undefined, encodeRecord(steady)]) {
    assert.equal(ledger.contradicted(TRUST_KEY, found, NOW)?.value, encodeRecord(trusted));
  }
  assert.equal(ledger.contradicted(TRUST_KEY, encodeRecord(stepForward(trusted, undefined)), NOW), undefined);
  assert.equal(ledger.contradicted(TRUST_KEY, 'no trust of this version', NOW), undefined);
});

test('what is known goes through a file and back', () => {
  const ledger = new Ledger(KEEP_MS);
  ledger.note(P1, locked());
  ledger.note(revocationKey('proxy/p1'), revocation(NOW));
  const entries = ledger.entries(NOW);
  assert.deepEqual(new Ledger(KEEP_MS, entries).entries(NOW), entries);
});

test('whatever order copies of the store are seen in, the trust that is known is the furthest of them', () => {
  const trusts: TrustRecord[] = [firstTrust(root('r0'))];
  for (let at = 1; at < 9; at += 1) trusts.push(stepForward(trusts[at - 1] ?? firstTrust(root('x')), root(`r${at}`)));
  fc.assert(
    fc.property(fc.array(fc.nat(8), { minLength: 1, maxLength: 30 }), (seen) => {
      const ledger = new Ledger(KEEP_MS);
      let furthest = 0;
      for (const index of seen) {
        const trust = trusts[index];
        assert.ok(trust !== undefined);
        ledger.note(TRUST_KEY, encodeRecord(trust));
        furthest = Math.max(furthest, trust.generation);
        for (const other of trusts) {
          const known = ledger.contradicted(TRUST_KEY, encodeRecord(other), NOW);
          assert.equal(known !== undefined, other.generation < furthest);
        }
      }
    }),
  );
});
