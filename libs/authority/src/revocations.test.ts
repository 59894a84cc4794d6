import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Revocations } from './index.ts';
import type { RevocationRecord } from './index.ts';

function revoked(identity: string, beforeMs: number): RevocationRecord {
  return { identity, beforeMs, reason: 'key lost' };
}

test('certificates issued before the revocation count no longer, later ones do', () => {
  const revocations = new Revocations();
  revocations.replace(1n, [revoked('user/alice', 1_000)]);
  assert.equal(revocations.find('user/alice', 999)?.reason, 'key lost');
  assert.equal(revocations.find('user/alice', 1_000), undefined);
  assert.equal(revocations.find('user/bob', 0), undefined);
});

test('an older list changes nothing, a newer one takes back', () => {
  const revocations = new Revocations();
  revocations.replace(5n, [revoked('user/alice', 1_000)]);
  assert.deepEqual(revocations.replace(4n, []), []);
  assert.notEqual(revocations.find('user/alice', 0), undefined);
  revocations.replace(6n, []);
  assert.equal(revocations.find('user/alice', 0), undefined);
});

test('tells each revocation once, and again when it was renewed', () => {
  const revocations = new Revocations();
  const first = [revoked('user/bob', 1), revoked('user/alice', 1_000)];
  assert.deepEqual(
    revocations.replace(1n, first).map(({ identity }) => identity),
    ['user/alice', 'user/bob'],
  );
  assert.deepEqual(revocations.replace(1n, first), []);
  assert.deepEqual(revocations.replace(2n, [revoked('user/bob', 2), revoked('user/alice', 1_000)]), [
    revoked('user/bob', 2),
  ]);
});

test('whatever the order of lists, the greatest revision decides', () => {
  const record = fc.record({ identity: fc.constantFrom('user/a', 'user/b', 'proxy/p'), beforeMs: fc.nat(9) });
  const list = fc.record({ revision: fc.nat(9), records: fc.array(record, { maxLength: 4 }) });
  fc.assert(
    fc.property(fc.array(list, { minLength: 1 }), fc.nat(9), (lists, issuedAtMs) => {
      const revocations = new Revocations();
      const expected = new Revocations();
      let last = lists[0];
      for (const next of lists) {
        const records = next.records.map((entry) => ({ ...entry, reason: '' }));
        revocations.replace(BigInt(next.revision), records);
        if (last === undefined || next.revision >= last.revision) last = next;
      }
      expected.replace(1n, last?.records.map((entry) => ({ ...entry, reason: '' })) ?? []);
      for (const identity of ['user/a', 'user/b', 'proxy/p'])
        assert.deepEqual(revocations.find(identity, issuedAtMs), expected.find(identity, issuedAtMs));
    }),
  );
});
