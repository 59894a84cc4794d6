import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeTrust, encodeRecord } from './records.ts';
import {
  activeRoot,
  behind,
  firstTrust,
  needsNewRoot,
  stepBack,
  stepForward,
  trustPem,
  trustedRoots,
} from './rotation.ts';
import type { IdentityRecord, TrustRecord } from './types.ts';

const NOW = 1_790_000_000_000;
const HOUR_MS = 3_600_000;

function root(name: string): { fingerprint: string; pem: string; notAfterMs: number } {
  return { fingerprint: name, pem: `${name}\n`, notAfterMs: NOW };
}

function names(trust: TrustRecord): readonly string[] {
  return trustedRoots(trust).map(({ fingerprint }) => fingerprint);
}

function record(
  identity: string,
  rootName: string,
  trust: number,
  change: Partial<IdentityRecord> = {},
): IdentityRecord {
  return {
    identity,
    generation: 1,
    key: 'k',
    previousKey: '',
    issuedAtMs: NOW,
    notAfterMs: NOW + HOUR_MS,
    root: rootName,
    trust,
    lock: undefined,
    ...change,
  };
}

function members(...args: Parameters<typeof behind>): readonly string[] {
  const { members: those, users } = behind(...args);
  assert.deepEqual(users, []);
  return those;
}

test('goes through its phases: trusted before it signs, and gone last', () => {
  const steady = firstTrust(root('A'));
  const prepared = stepForward(steady, root('B'));
  const trusted = stepForward(prepared, undefined);
  const signing = stepForward(trusted, undefined);
  const done = stepForward(signing, undefined);
  const seen = [steady, prepared, trusted, signing, done].map((trust) => [
    trust.phase,
    trust.generation,
    activeRoot(trust).fingerprint,
    names(trust).join(''),
  ]);
  assert.deepEqual(seen, [
    ['steady', 1, 'A', 'A'],
    ['prepared', 1, 'A', 'A'],
    ['trusted', 2, 'A', 'AB'],
    ['signing', 3, 'B', 'BA'],
    ['steady', 4, 'B', 'B'],
  ]);
  assert.equal(trustPem(signing), 'B\nA\n');
  assert.ok(needsNewRoot(done) && !needsNewRoot(prepared));
});

test('can be taken back in every phase but the last', () => {
  const prepared = stepForward(firstTrust(root('A')), root('B'));
  const signing = stepForward(stepForward(prepared, undefined), undefined);
  const back = [signing];
  for (let last = stepBack(signing); last !== undefined; last = stepBack(last)) back.push(last);
  const seen = back.map((trust) => [trust.phase, trust.generation, names(trust).join('')]);
  assert.deepEqual(seen, [
    ['signing', 3, 'BA'],
    ['trusted', 4, 'AB'],
    ['prepared', 5, 'A'],
    ['steady', 5, 'A'],
  ]);
});

test('whoever would be cut off by a step is behind, in order', () => {
  const trusted = stepForward(stepForward(firstTrust(root('A')), root('B')), undefined);
  const fleet = [record('proxy/p2', 'A', 1), record('proxy/p1', 'A', 1), record('registry/r1', 'A', 2)];
  assert.deepEqual(members(trusted, fleet, 'forward', NOW), ['proxy/p1', 'proxy/p2']);
  assert.deepEqual(members(trusted, fleet, 'back', NOW), []);
  const signing = stepForward(trusted, undefined);
  const moved = [record('proxy/p1', 'B', 3), record('proxy/p2', 'A', 3), record('registry/r1', 'B', 2)];
  assert.deepEqual(members(signing, moved, 'forward', NOW), ['proxy/p2', 'registry/r1']);
  assert.deepEqual(members(signing, moved, 'back', NOW), []);
  const undone = stepBack(signing);
  assert.ok(undone !== undefined);
  assert.deepEqual(members(undone, moved, 'back', NOW), ['proxy/p1', 'registry/r1']);
});

test('nobody waits for certificates that have ended or were taken back', () => {
  const trusted = stepForward(stepForward(firstTrust(root('A')), root('B')), undefined);
  const lock = { kind: 'revoked', atMs: NOW, reason: '' } as const;
  const gone = [record('proxy/p1', 'A', 1, { notAfterMs: NOW - HOUR_MS }), record('proxy/p2', 'A', 1, { lock })];
  assert.deepEqual(members(trusted, gone, 'forward', NOW), []);
});

test('users are told apart, with the end of the last certificate that is behind', () => {
  const trusted = stepForward(stepForward(firstTrust(root('A')), root('B')), undefined);
  const fleet = [
    record('proxy/p1', 'A', 1),
    record('user/bob', 'A', 1, { notAfterMs: NOW + 5 * HOUR_MS }),
    record('user/alice', 'A', 2, { earlier: { root: 'A', trust: 1, notAfterMs: NOW + 3 * HOUR_MS } }),
    record('user/carol', 'A', 2, { earlier: { root: 'A', trust: 1, notAfterMs: NOW - HOUR_MS } }),
  ];
  const left = behind(trusted, fleet, 'forward', NOW);
  assert.deepEqual([left.members, left.users], [['proxy/p1'], ['user/alice', 'user/bob']]);
  assert.equal(left.usersUntilMs, NOW + 5 * HOUR_MS + 60_000);
  assert.deepEqual(behind(trusted, fleet, 'forward', left.usersUntilMs).users, []);
});

test('whatever steps are made, nobody who follows is ever cut off', () => {
  const move = fc.constantFrom('forward', 'back', 'renew', 'renew-all');
  fc.assert(
    fc.property(fc.array(fc.tuple(move, fc.nat(3)), { maxLength: 60 }), (moves) => {
      let trust = firstTrust(root('r0'));
      let made = 0;
      const fleet = ['a', 'b', 'c', 'd'].map((name) => ({
        record: record(name, 'r0', 1),
        trusts: new Set(['r0']),
      }));
      const renew = (index: number): void => {
        const member = fleet[index];
        if (member === undefined) return;
        member.record = record(member.record.identity, activeRoot(trust).fingerprint, trust.generation);
        member.trusts = new Set(names(trust));
      };
      for (const [kind, index] of moves) {
        if (kind === 'renew') renew(index);
        else if (kind === 'renew-all') fleet.forEach((_member, each) => renew(each));
        else {
          const records = fleet.map((member) => member.record);
          if (members(trust, records, kind, NOW).length > 0) continue;
          if (kind === 'forward' && needsNewRoot(trust)) made += 1;
          const next = kind === 'forward' ? stepForward(trust, root(`r${made}`)) : stepBack(trust);
          if (next !== undefined) {
            assert.ok(next.generation >= trust.generation);
            trust = next;
          }
        }
        assert.deepEqual(decodeTrust(encodeRecord(trust)), trust);
        // A registry with a certificate as of now, and every member, accept each other.
        for (const { record: own, trusts } of fleet) {
          assert.ok(names(trust).includes(own.root), `${own.identity} is refused`);
          assert.ok(trusts.has(activeRoot(trust).fingerprint), `${own.identity} refuses`);
        }
        for (const one of fleet) for (const other of fleet) assert.ok(one.trusts.has(other.record.root), 'two members');
      }
    }),
    { numRuns: 500 },
  );
});
