import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decideJoin, identityToJoin, joinPlan } from './join.ts';
import type { Grant, JoinAsk, Refusal } from './join.ts';
import { tokenKey } from './keys.ts';
import { encodeRecord } from './records.ts';
import { revokePlan, unlockPlan } from './renew.ts';
import { Records } from './testing/records.ts';
import type { TokenRecord } from './types.ts';

const NOW = 1_790_000_000_000;
const HOUR_MS = 3_600_000;
const TOKEN: TokenRecord = {
  hash: 'ab'.repeat(32),
  role: 'agent',
  leaf: 'berlin',
  name: '',
  expiresAtMs: NOW + 600_000,
  createdBy: 'user/admin@r1',
  sources: [],
  used: undefined,
};
const ASK: JoinAsk = { role: 'agent', leaf: undefined, name: 'a1', key: 'k1' };
const FACTS = { issuedAtMs: NOW, notAfterMs: NOW + HOUR_MS, root: 'root', trust: 1 };

function withToken(change: Partial<TokenRecord> = {}): Records {
  const records = new Records();
  records.put(tokenKey(TOKEN.hash), encodeRecord({ ...TOKEN, ...change }));
  return records;
}

function decide(records: Records, ask: JoinAsk, nowMs = NOW, sourceAllowed = true): Grant | Refusal {
  const token = records.token(TOKEN.hash);
  const name = token.record === undefined ? undefined : identityToJoin(token.record, ask);
  const identity = name === undefined ? undefined : records.identity(name);
  return decideJoin(ask, token, identity, sourceAllowed, nowMs);
}

/** Reads, decides and writes in one go; the answer, or why there is none. */
function join(records: Records, ask: JoinAsk, nowMs = NOW): Grant | Refusal | 'conflict' {
  const decision = decide(records, ask, nowMs);
  if (decision.kind === 'refused') return decision;
  const token = records.token(TOKEN.hash);
  const plan = joinPlan(decision, token, records.identity(decision.identity), { ...FACTS, key: ask.key });
  return records.commit(plan) ? decision : 'conflict';
}

function codeOf(decision: Grant | Refusal | 'conflict'): string {
  return decision === 'conflict' ? decision : decision.kind === 'refused' ? decision.code : 'granted';
}

test('A4: a token gives the identity it was made for, once', () => {
  const records = withToken();
  assert.deepEqual(join(records, ASK), {
    kind: 'granted',
    identity: 'leaf/berlin/agent/a1',
    generation: 1,
    repeat: false,
  });
  assert.equal(codeOf(join(records, { ...ASK, name: 'a2', key: 'k2' })), 'token-refused');
  assert.equal(codeOf(join(records, { ...ASK, key: 'k2' })), 'token-refused');
  assert.equal(records.identity('leaf/berlin/agent/a1').record?.key, 'k1');
});

test('A4: whoever used it may ask again with the same key, until it would have expired', () => {
  const records = withToken();
  join(records, ASK);
  assert.deepEqual(join(records, ASK), {
    kind: 'granted',
    identity: 'leaf/berlin/agent/a1',
    generation: 1,
    repeat: true,
  });
  assert.equal(codeOf(decide(records, ASK, TOKEN.expiresAtMs)), 'token-refused');
});

test('A4: is refused when unknown, expired, or for another role, leaf cluster, name or address', () => {
  assert.equal(codeOf(decide(new Records(), ASK)), 'token-refused');
  assert.equal(codeOf(decide(withToken(), ASK, TOKEN.expiresAtMs)), 'token-refused');
  assert.equal(codeOf(decide(withToken(), { ...ASK, leaf: 'tokyo' })), 'token-mismatch');
  assert.equal(codeOf(decide(withToken(), { ...ASK, role: 'proxy' })), 'token-mismatch');
  assert.equal(codeOf(decide(withToken({ name: 'a9' }), ASK)), 'token-mismatch');
  assert.equal(codeOf(decide(withToken(), ASK, NOW, false)), 'token-mismatch');
  for (const name of ['enrol', 'registry', 'join']) {
    const ask = { ...ASK, role: 'proxy', name } as const;
    assert.equal(codeOf(decide(withToken({ role: 'proxy', leaf: '' }), ask)), 'invalid', name);
  }
});

test('a token that does not fit stays good for who it was made for', () => {
  const records = withToken();
  assert.equal(codeOf(join(records, { ...ASK, leaf: 'tokyo' })), 'token-mismatch');
  assert.equal(codeOf(join(records, ASK)), 'granted');
});

test('a name in use is given again only for a token that names it, or when its certificate has ended', () => {
  const records = withToken();
  join(records, ASK);
  const again = { ...ASK, key: 'k2' };
  records.put(tokenKey(TOKEN.hash), encodeRecord(TOKEN));
  assert.equal(codeOf(join(records, again)), 'name-taken');
  records.put(tokenKey(TOKEN.hash), encodeRecord({ ...TOKEN, expiresAtMs: NOW + 3 * HOUR_MS }));
  assert.equal(codeOf(decide(records, again, NOW + HOUR_MS)), 'granted');
  records.put(tokenKey(TOKEN.hash), encodeRecord({ ...TOKEN, name: 'a1' }));
  const decision = join(records, again);
  assert.ok(decision !== 'conflict' && decision.kind === 'granted');
  assert.equal(decision.generation, 2);
});

test('a revoked identity joins again only after it was unlocked, with a new token', () => {
  const records = withToken();
  join(records, ASK);
  const name = 'leaf/berlin/agent/a1';
  assert.ok(records.commit(revokePlan(name, records.identity(name), 'lost', NOW + 1, HOUR_MS)));
  assert.equal(records.revocation(name)?.beforeMs, NOW + 1);
  records.put(tokenKey(TOKEN.hash), encodeRecord(TOKEN));
  assert.equal(codeOf(join(records, { ...ASK, key: 'k2' })), 'revoked');
  const unlock = unlockPlan(records.identity(name), NOW + 2);
  assert.ok(unlock !== undefined && records.commit(unlock));
  assert.equal(codeOf(join(records, { ...ASK, key: 'k2' }, NOW + 3)), 'granted');
});

test('A4: of any number of uses in any order of their steps exactly one succeeds', () => {
  const uses = fc.array(fc.record({ name: fc.constantFrom('a1', 'a2', 'a3'), key: fc.uuid() }), {
    minLength: 2,
    maxLength: 12,
  });
  fc.assert(
    fc.property(uses, fc.infiniteStream(fc.nat()), (wishes, chances) => {
      const records = withToken();
      // Each use reads, decides and writes; the reads of all of them may come before the writes of any.
      const running = wishes.map(({ name, key }) => stepsOf(records, { ...ASK, name, key }));
      const granted: Grant[] = [];
      while (running.length > 0) {
        const chance = chances.next().value;
        const index = (typeof chance === 'number' ? chance : 0) % running.length;
        const step = running[index]?.next();
        if (step?.done !== true) continue;
        if (step.value.kind === 'granted') granted.push(step.value);
        running.splice(index, 1);
      }
      assert.equal(granted.filter(({ repeat }) => !repeat).length, 1);
      const [winner] = granted;
      assert.equal(records.token(TOKEN.hash).record?.used?.identity, winner?.identity);
    }),
    { numRuns: 300 },
  );
});

/** As the shell does it: whatever was read may have changed when it is compared. */
function* stepsOf(records: Records, ask: JoinAsk): Generator<void, Grant | Refusal> {
  for (;;) {
    const token = records.token(TOKEN.hash);
    yield;
    const name = token.record === undefined ? undefined : identityToJoin(token.record, ask);
    const identity = name === undefined ? undefined : records.identity(name);
    yield;
    const decision = decideJoin(ask, token, identity, true, NOW);
    if (decision.kind === 'refused' || identity === undefined) {
      assert.equal(decision.kind, 'refused');
      return decision;
    }
    if (records.commit(joinPlan(decision, token, identity, { ...FACTS, key: ask.key }))) return decision;
  }
}
