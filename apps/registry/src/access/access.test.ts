import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { REVOCATIONS_PREFIX, decodeRevocation } from '@xylem/authority';
import type { AuditEntry, AuditLog } from '@xylem/audit';
import { openAuthorityStore } from '../authority/store.ts';
import type { AuthorityStore } from '../authority/store.ts';
import { STORES } from '../testing/world.ts';
import { openTestStore } from '../testing/store.ts';
import { AccessError } from './access-error.ts';
import { PolicyInForce } from './in-force.ts';
import type { Rules } from './in-force.ts';
import { Passwords } from './passwords.ts';
import { Policies } from './policies.ts';
import { MAX_HISTORY } from './policy-record.ts';
import { Users } from './users.ts';
import type { UserWish } from './users.ts';

const CHEAP = { N: 1_024, r: 8, p: 1 } as const;
const HOUR_MS = 3_600_000;
const ADMIN = 'user/admin@r1';
const ALICE: UserWish = {
  name: 'alice',
  groups: ['dba'],
  password: 'correct horse',
  disabled: false,
  replace: false,
};
const POLICY = `groups: {dba: [bob]}
admins: [alice]
rules:
  - {name: databases, allow: [group:dba], leaves: [berlin], nodes: ['db-*']}
`;

interface Bench {
  readonly store: AuthorityStore;
  readonly users: Users;
  readonly policies: Policies;
  readonly inForce: PolicyInForce;
  readonly passwords: Passwords;
  readonly audit: AuditEntry[];
  /** Resolves when the rules fulfil it; rejects after ten seconds. */
  until(holds: (rules: Rules) => boolean): Promise<void>;
}

async function openBench(t: TestContext, kind: (typeof STORES)[number]): Promise<Bench> {
  const store = openAuthorityStore(await openTestStore(t, kind), () => undefined);
  const lines: AuditEntry[] = [];
  const audit: AuditLog = {
    record: (entry) => void lines.push(entry),
    commit: (entry) => Promise.resolve(void lines.push(entry)),
    healthy: true,
    close: () => Promise.resolve(),
  };
  const passwords = new Passwords(CHEAP);
  const now = (): number => Date.now();
  const parts = { store, audit, now };
  const inForce = new PolicyInForce(store.mirror, { onUnreadable: () => undefined, now });
  store.mirror.start();
  t.after(() => {
    inForce.close();
    store.close();
  });
  return {
    store,
    passwords,
    inForce,
    audit: lines,
    users: new Users({ ...parts, passwords, userTtlMs: 12 * HOUR_MS }),
    policies: new Policies(parts),
    until: (holds) => until(inForce, holds),
  };
}

async function until(inForce: PolicyInForce, holds: (rules: Rules) => boolean): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const late = setTimeout(() => reject(new Error('the rules never came')), 10_000);
  const check = (rules: Rules): void => {
    if (holds(rules)) resolve();
  };
  const stop = inForce.onChange(check);
  check(inForce.rules);
  await promise.finally(() => {
    clearTimeout(late);
    stop();
  });
}

function isAccess(code: AccessError['code'], text: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof AccessError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, text);
    return true;
  };
}

for (const kind of STORES) {
  describe(`users in the ${kind.name}`, () => {
    it('are created once, changed and removed, and each change is recorded', async (t) => {
      const { users, passwords, audit } = await openBench(t, kind);
      await users.put(ALICE, ADMIN);
      await assert.rejects(users.put(ALICE, ADMIN), isAccess('exists', /alice is there already/));
      const { record } = await users.find('alice');
      assert.ok(await passwords.matches('correct horse', record?.password));
      assert.ok(!(await passwords.matches('correct horses', record?.password)));
      await users.put({ ...ALICE, groups: undefined, password: undefined, replace: true }, ADMIN);
      const again = await users.find('alice');
      assert.deepEqual(again.record?.groups, ['dba']);
      assert.ok(await passwords.matches('correct horse', again.record?.password));
      assert.equal(await users.remove('alice', ADMIN), true);
      assert.equal(await users.remove('alice', ADMIN), false);
      assert.deepEqual(
        audit.map((line) => `${line.kind} ${line.subject} ${line.outcome}`),
        ['user.put user/alice done', 'user.put user/alice done', 'user.removed user/alice done'],
      );
      assert.ok(!JSON.stringify(audit).includes('horse'));
    });

    it('lose what they have when they are disabled, removed or get another password', async (t) => {
      const { users, store } = await openBench(t, kind);
      const revocations = async (): Promise<readonly string[]> =>
        (await store.list(REVOCATIONS_PREFIX, decodeRevocation)).map(({ record }) => record?.reason ?? '');
      await users.put(ALICE, ADMIN);
      await users.put({ ...ALICE, password: undefined, groups: ['web'], replace: true }, ADMIN);
      assert.deepEqual(await revocations(), []);
      await users.put({ ...ALICE, password: 'battery staple', replace: true }, ADMIN);
      assert.deepEqual(await revocations(), ['the password was changed']);
      await users.put({ ...ALICE, password: undefined, disabled: true, replace: true }, ADMIN);
      assert.deepEqual(await revocations(), ['the user was disabled']);
      await users.remove('alice', ADMIN);
      assert.deepEqual(await revocations(), ['the user was removed']);
    });

    it('of an OpenID provider keep their names to themselves', async (t) => {
      const { users, inForce, until: rules } = await openBench(t, kind);
      const login = { user: 'carol', issuer: 'https://id.example', subject: 's1', groups: ['web', 'bad\nname'] };
      await users.recordExternal(login);
      await rules(({ groups }) => groups.get('carol')?.join() === 'web');
      assert.deepEqual(inForce.groupsOf('carol'), ['web']);
      await users.recordExternal({ ...login, groups: ['ops'] });
      await rules(({ groups }) => groups.get('carol')?.join() === 'ops');
      const other = users.recordExternal({ ...login, subject: 's2' });
      await assert.rejects(other, isAccess('denied', /belongs to another subject/));
      await users.put(ALICE, ADMIN);
      const local = users.recordExternal({ ...login, user: 'alice' });
      await assert.rejects(local, isAccess('denied', /logs in with a password/));
      await users.put({ ...ALICE, name: 'carol', password: undefined, disabled: true, replace: true }, ADMIN);
      await assert.rejects(users.recordExternal(login), isAccess('denied', /disabled/));
      await rules(({ groups }) => !groups.has('carol'));
    });
  });

  describe(`the policy in the ${kind.name}`, () => {
    it('is replaced by whoever knows the version in force, and kept version by version', async (t) => {
      const { policies, audit } = await openBench(t, kind);
      assert.deepEqual(await policies.get(), { version: 0, yaml: '', setBy: '', setAtMs: 0 });
      assert.equal(await policies.initialise(POLICY, 'policy.file'), true);
      assert.equal(await policies.initialise('', 'policy.file'), false);
      await assert.rejects(policies.set('', 0, ADMIN), isAccess('conflict', /version 0 is not in force.*version 1 is/));
      for (let version = 1; version < MAX_HISTORY + 4; version += 1) {
        const outcome = await policies.set(`${POLICY}# ${version}\n`, version, ADMIN);
        assert.equal(outcome.kind === 'set' && outcome.version, version + 1);
      }
      const history = await policies.history();
      assert.equal(history.length, MAX_HISTORY + 1);
      assert.equal(history[0]?.version, MAX_HISTORY + 4);
      const oldest = history.at(-1)?.version ?? 0;
      assert.equal((await policies.get(oldest)).yaml, `${POLICY}# ${oldest - 1}\n`);
      await assert.rejects(policies.get(oldest - 1), isAccess('invalid', /is not kept/));
      assert.equal(audit.filter(({ outcome }) => outcome === 'done').length, MAX_HISTORY + 4);
    });

    it('takes one of two replacements at the same time', async (t) => {
      const { policies } = await openBench(t, kind);
      const outcomes = await Promise.allSettled(
        Array.from({ length: 5 }, (_, index) => policies.set(`${POLICY}# ${index}\n`, 0, ADMIN)),
      );
      assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
      assert.equal((await policies.get()).version, 1);
    });

    it('is not replaced by one with problems, nor by a check', async (t) => {
      const { policies } = await openBench(t, kind);
      const invalid = await policies.set('rules: 7', 0, ADMIN);
      assert.deepEqual(invalid, {
        kind: 'invalid',
        problems: ['line 1, column 8: rules: must be a list: [a, b], or one line with "- " for each'],
      });
      assert.equal((await policies.set(POLICY, 0, 'user/bob', true)).kind, 'valid');
      assert.equal((await policies.get()).version, 0);
    });

    it('warns of locking administrators out', async (t) => {
      const { policies, users } = await openBench(t, kind);
      await users.put(ALICE, ADMIN);
      const warned = async (yaml: string, actor: string): Promise<string> => {
        const outcome = await policies.set(
          `${yaml}\nrules: [{name: a, allow: [everyone], leaves: [b], nodes: [c]}]`,
          0,
          actor,
          true,
        );
        return outcome.kind === 'valid' ? outcome.warnings.join('; ') : outcome.kind;
      };
      assert.equal(await warned('admins: [alice]', 'user/alice'), '');
      assert.equal(await warned('admins: [group:dba]', 'user/alice'), '');
      assert.equal(await warned('admins: [alice]', ADMIN), '');
      assert.equal(await warned('admins: [alice]', 'user/bob'), 'you (bob) are no administrator under this policy');
      assert.match(await warned('admins: [group:nobody]', ADMIN), /the admins are nobody that is known/);
    });

    it('stays in force while a long one is read, and the newest of several is the one that counts', async (t) => {
      const bench = await openBench(t, kind);
      const { policies, inForce } = bench;
      await policies.set(POLICY, 0, ADMIN);
      await bench.until(({ version }) => version === 1);
      const filler = Array.from(
        { length: 500 },
        (_, index) => `  - {name: r${index}, allow: [carol], leaves: [x], nodes: [y]}\n`,
      );
      const long = POLICY + filler.join('');
      assert.ok(long.length > 16_384);
      const seen: number[] = [];
      inForce.onChange(({ version, policy }) => seen.push(version * 1_000 + policy.rules.length));
      await policies.set(long, 1, ADMIN);
      assert.ok(inForce.decide({ user: 'bob', leaf: 'berlin', node: 'db-1', port: 1 }).allowed);
      await policies.set(`${long}# again`, 2, ADMIN);
      await policies.set(POLICY, 3, ADMIN);
      await bench.until(({ version }) => version === 4);
      assert.equal(inForce.rules.policy.rules.length, 1);
      assert.deepEqual(
        seen,
        seen.toSorted((a, b) => a - b),
        'never an older one after a newer one',
      );
      await policies.set(long, 4, ADMIN);
      await bench.until(({ version, policy }) => version === 5 && policy.rules.length === 501);
    });

    it('decides with the groups of the registry, and denies all when it cannot be read', async (t) => {
      const { policies, users, inForce, store, until: rules } = await openBench(t, kind);
      const question = { user: 'alice', leaf: 'berlin', node: 'db-1', port: 5432 };
      assert.equal(inForce.decide(question).allowed, false);
      await policies.set(POLICY, 0, ADMIN);
      await rules(({ version }) => version === 1);
      assert.equal(inForce.decide({ ...question, user: 'bob' }).allowed, true);
      assert.equal(inForce.decide(question).allowed, false);
      assert.equal(inForce.decide(question, ['dba']).allowed, true);
      await users.put(ALICE, ADMIN);
      await rules(({ groups }) => groups.has('alice'));
      assert.equal(inForce.decide(question).allowed, true);
      assert.equal(inForce.decide({ ...question, user: undefined }).allowed, false);
      assert.equal(inForce.isAdmin('alice'), true);
      assert.equal(inForce.isAdmin('bob'), false);
      const { modRevision } = await store.read('/xylem/authority/v1/policy', (text) => text);
      const key = '/xylem/authority/v1/policy';
      await store.commit({ compares: [{ key, modRevision }], steps: [{ type: 'put', key, value: '{}', lease: 0n }] });
      await rules(({ version }) => version === 0);
      assert.equal(inForce.decide({ ...question, user: 'bob' }).allowed, false);
    });
  });
}

describe('names and passwords', () => {
  it('are refused when they could be taken for something else, or guessed', async (t) => {
    const [kind] = STORES;
    assert.ok(kind !== undefined);
    const { users } = await openBench(t, kind);
    for (const name of ['anonymous', 'everyone', 'admin@r1', 'Alice', '', '..', 'a/b']) {
      await assert.rejects(users.put({ ...ALICE, name }, ADMIN), AccessError, name);
    }
    for (const password of ['', 'seven77', 'x'.repeat(1_025)]) {
      await assert.rejects(users.put({ ...ALICE, password }, ADMIN), AccessError);
    }
    await assert.rejects(users.put({ ...ALICE, groups: ['a\nb'] }, ADMIN), AccessError);
  });

  it('take as long to check for nobody as for somebody, and never match', async () => {
    const passwords = new Passwords();
    const kept = await passwords.hash('correct horse');
    const took = async (of: typeof kept | undefined): Promise<number> => {
      const started = performance.now();
      assert.equal(await passwords.matches('something else', of), false);
      return performance.now() - started;
    };
    const known = Math.min(await took(kept), await took(kept), await took(kept));
    const unknown = Math.min(await took(undefined), await took(undefined), await took(undefined));
    assert.ok(unknown > known / 2 && unknown < known * 2, `${known} and ${unknown} ms`);
  });
});
