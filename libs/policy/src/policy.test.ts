import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decide, decideSomePort, isAdmin, matchesPattern, principalsOf, sliceFor, withMembers } from './index.ts';
import type { DialQuestion, Policy, Rule, Subject } from './index.ts';
import { policies, questions } from './testing/arbitraries.ts';

const EMPTY: Policy = { groups: new Map(), admins: [], rules: [], cutOpenConnections: true };

const DATABASES: Rule = {
  name: 'databases',
  effect: 'allow',
  subjects: [
    { kind: 'group', group: 'dba' },
    { kind: 'user', user: 'carol' },
  ],
  leaves: ['berlin', 'edge-*'],
  targets: [
    { node: 'db-*', ports: [5432] },
    { node: 'web', ports: [80, 443] },
    { node: 'bastion', ports: undefined },
  ],
};
const VAULT: Rule = {
  name: 'never-the-vault',
  effect: 'deny',
  subjects: [{ kind: 'everyone' }, { kind: 'anonymous' }],
  leaves: ['*'],
  targets: [{ node: 'vault', ports: undefined }],
};
const POLICY: Policy = { ...EMPTY, groups: new Map([['dba', ['alice', 'bob']]]), rules: [DATABASES, VAULT] };

const QUESTION: DialQuestion = { user: 'alice', groups: [], leaf: 'berlin', node: 'db-1', port: 5432 };

function reasonFor(changes: Partial<DialQuestion>, policy: Policy = POLICY): string {
  return decide(policy, { ...QUESTION, ...changes }).reason;
}

describe('reasons', () => {
  it('name the rule that allows and as whom', () => {
    assert.deepEqual(decide(POLICY, QUESTION), {
      allowed: true,
      rule: 'databases',
      reason: 'rule databases allows group:dba to reach db-1.berlin:5432',
    });
    assert.equal(
      reasonFor({ user: 'carol', groups: ['dba'] }),
      'rule databases allows user:carol to reach db-1.berlin:5432',
    );
  });

  it('name the rule that denies, and the one it wins over', () => {
    const open: Rule = { ...DATABASES, name: 'all', targets: [{ node: '*', ports: undefined }] };
    const policy = { ...POLICY, rules: [open, VAULT] };
    assert.deepEqual(decide(policy, { ...QUESTION, node: 'vault' }), {
      allowed: false,
      rule: 'never-the-vault',
      reason: 'rule never-the-vault denies everyone to reach vault.berlin:5432; it wins over rule all, which allows it',
    });
    assert.equal(
      reasonFor({ user: undefined, node: 'vault' }),
      'rule never-the-vault denies anonymous to reach vault.berlin:5432',
    );
  });

  it('name the rule that came nearest, and what it lacked', () => {
    const on = 'rule databases allows group:dba on berlin, but only';
    assert.equal(reasonFor({ port: 22 }), `${on} port 5432 of db-*, not port 22`);
    assert.equal(reasonFor({ node: 'web', port: 22 }), `${on} ports 80, 443 of web, not port 22`);
    assert.equal(reasonFor({ node: 'mail' }), `${on} db-*:5432, web:80,443, bastion, not mail`);
    assert.equal(
      reasonFor({ leaf: 'tokyo' }),
      'rule databases allows group:dba db-1:5432, but only in berlin, edge-*, not in tokyo',
    );
    assert.equal(
      reasonFor({ user: 'dave', groups: ['web'] }),
      'rule databases allows db-1.berlin:5432, but only to group:dba, user:carol, not to dave (web)',
    );
    assert.equal(reasonFor({ user: 'dave', leaf: 'tokyo' }), 'no rule allows dave to reach db-1.tokyo:5432');
  });

  it('say that an empty policy denies all', () => {
    assert.equal(reasonFor({}, EMPTY), 'no rule of the policy allows anything, so all is denied');
  });

  it('stay one short line whatever the lists', () => {
    const many: Rule = { ...DATABASES, leaves: Array.from({ length: 256 }, (_, index) => `leaf-${index}`) };
    assert.match(
      reasonFor({}, { ...POLICY, rules: [many] }),
      /only in leaf-0, leaf-1, leaf-2, leaf-3 and 252 more, not/,
    );
  });
});

describe('a node whose port is not known yet', () => {
  it('may be dialled when there is a port that would be allowed', () => {
    fc.assert(
      fc.property(policies, questions, (policy, question) => {
        // Beyond the ports that the policies here speak of, all are alike.
        const some = [22, 80, 443, 5432, 9].some((port) => naive(policy, { ...question, port }));
        assert.equal(decideSomePort(policy, question).allowed, some);
      }),
      { numRuns: 2_000 },
    );
  });

  it('is decided at once, whatever ports the policy lists', () => {
    const ports = Array.from({ length: 256 }, (_, index) => index);
    const rules = Array.from({ length: 250 }, (_, index): Rule => ({
      name: `r${index}`,
      effect: index === 0 ? 'allow' : 'deny',
      subjects: [{ kind: 'everyone' }],
      leaves: ['*'],
      targets: [{ node: 'db-1', ports: ports.map((port) => 1 + index * 256 + port) }],
    }));
    const policy = { ...EMPTY, rules };
    assert.equal(decideSomePort(policy, QUESTION).allowed, true);
    const denied: Rule = { ...VAULT, name: 'all', targets: [{ node: '*', ports: undefined }] };
    const decision = decideSomePort({ ...policy, rules: [...rules, denied] }, QUESTION);
    assert.deepEqual([decision.allowed, decision.rule], [false, 'all']);
  });
});

/** The definition, written as plainly as possible. */
function naive(policy: Policy, question: DialQuestion): boolean {
  const speaksOf = (subject: Subject): boolean => {
    if (question.user === undefined) return subject.kind === 'anonymous';
    if (subject.kind === 'everyone') return true;
    if (subject.kind === 'user') return subject.user === question.user;
    if (subject.kind === 'anonymous') return false;
    const listed = policy.groups.get(subject.group) ?? [];
    return listed.includes(question.user) || question.groups.includes(subject.group);
  };
  const matching = policy.rules.filter(
    (rule) =>
      rule.subjects.some(speaksOf) &&
      rule.leaves.some((leaf) => asRegExp(leaf).test(question.leaf)) &&
      rule.targets.some(
        ({ node, ports }) => asRegExp(node).test(question.node) && (ports ?? [question.port]).includes(question.port),
      ),
  );
  return matching.length > 0 && matching.every((rule) => rule.effect === 'allow');
}

function asRegExp(pattern: string): RegExp {
  return new RegExp(`^${pattern.split('*').join('.*')}$`);
}

describe('any policy', () => {
  const RUNS = { numRuns: 2_000 };

  it('decides as the definition says', () => {
    let allowed = 0;
    fc.assert(
      fc.property(policies, questions, (policy, question) => {
        const decision = decide(policy, question);
        if (decision.allowed) allowed += 1;
        assert.equal(decision.allowed, naive(policy, question), decision.reason);
        assert.equal(decision.reason.includes('\n'), false);
      }),
      RUNS,
    );
    assert.ok(allowed > RUNS.numRuns / 50, `only ${allowed} of the questions were allowed: the property says little`);
  });

  it('decides the same in any order of its rules, with the same reason', () => {
    const shuffled = policies.chain((policy) =>
      fc.shuffledSubarray([...policy.rules], { minLength: policy.rules.length }).map((rules) => ({ policy, rules })),
    );
    fc.assert(
      fc.property(shuffled, questions, ({ policy, rules }, question) => {
        assert.deepEqual(decide({ ...policy, rules }, question), decide(policy, question));
      }),
      RUNS,
    );
  });

  it('never takes a permission away for another allow rule, nor for a deny rule less', () => {
    fc.assert(
      fc.property(policies, policies, questions, (policy, other, question) => {
        const before = decide(policy, question).allowed;
        const allows = other.rules.filter((rule) => rule.effect === 'allow');
        const more = allows.map((rule) => ({ ...rule, name: `x${rule.name}` }));
        const fewer = policy.rules.filter((rule) => rule.effect === 'allow');
        if (!before) return;
        assert.equal(decide({ ...policy, rules: [...policy.rules, ...more] }, question).allowed, true);
        assert.equal(decide({ ...policy, rules: fewer }, question).allowed, true);
      }),
      RUNS,
    );
  });

  it('never allows what a matching deny rule denies', () => {
    fc.assert(
      fc.property(policies, questions, (policy, question) => {
        const denies = policy.rules.map((rule) => ({ ...rule, effect: 'allow' as const }));
        for (const rule of policy.rules.filter(({ effect }) => effect === 'deny')) {
          const alone = { ...policy, rules: denies.filter(({ name }) => name === rule.name) };
          if (decide(alone, question).allowed) assert.equal(decide(policy, question).allowed, false);
        }
      }),
      RUNS,
    );
  });

  it('is decided for one leaf cluster by its slice, which denies elsewhere', () => {
    fc.assert(
      fc.property(policies, questions, (policy, question) => {
        const { allowed, rule } = decide(policy, question);
        const own = decide(sliceFor(policy, question.leaf), question);
        assert.deepEqual({ allowed: own.allowed, rule: own.rule }, { allowed, rule });
        assert.equal(decide(sliceFor(policy, 'elsewhere'), question).allowed, false);
      }),
      RUNS,
    );
  });

  it('decides alone once groups from elsewhere are written into it', () => {
    fc.assert(
      fc.property(policies, questions, (policy, question) => {
        if (question.user === undefined) return;
        const complete = withMembers(policy, new Map([[question.user, question.groups]]));
        assert.deepEqual(decide(complete, { ...question, groups: [] }), decide(policy, question));
      }),
      RUNS,
    );
  });
});

describe('patterns', () => {
  it('match as the equal regular expression does', () => {
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 });
    const name = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 10 });
    fc.assert(
      fc.property(pattern, name, (text, value) => matchesPattern(text, value) === asRegExp(text).test(value)),
      { numRuns: 5_000 },
    );
  });

  it('take no longer than their length times that of the name', () => {
    const started = performance.now();
    for (let round = 0; round < 100; round += 1)
      assert.equal(matchesPattern(`${'*a'.repeat(31)}b`, 'a'.repeat(63)), false);
    assert.ok(performance.now() - started < 10_000);
  });
});

describe('who somebody is', () => {
  it('adds up the groups of the policy and those from elsewhere', () => {
    assert.deepEqual([...principalsOf(POLICY, 'alice', ['ops']).groups].sort(), ['dba', 'ops']);
  });

  it('gives an anonymous visitor no groups', () => {
    assert.deepEqual([...principalsOf(POLICY, undefined, ['dba']).groups], []);
  });

  it('makes only listed users and groups administrators', () => {
    const policy: Policy = {
      ...POLICY,
      admins: [
        { kind: 'user', user: 'carol' },
        { kind: 'group', group: 'dba' },
        { kind: 'everyone' },
        { kind: 'anonymous' },
      ],
    };
    assert.equal(isAdmin(policy, 'carol', []), true);
    assert.equal(isAdmin(policy, 'alice', []), true);
    assert.equal(isAdmin(policy, 'dave', ['dba']), true);
    assert.equal(isAdmin(policy, 'dave', []), false);
    assert.equal(isAdmin(policy, undefined, ['dba']), false);
    assert.equal(isAdmin(EMPTY, 'alice', ['ops']), false);
  });
});
