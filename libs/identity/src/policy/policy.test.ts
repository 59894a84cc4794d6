import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decide } from '@xylem/policy';
import fc from 'fast-check';
import { canonicalPolicy } from './canonical.ts';
import { problemText, readCanonicalPolicy, readPolicy, readPolicyInSteps } from './read-policy.ts';
import { POLICY_LIMITS } from './schema.ts';

const EXAMPLE = `groups:
  dba: [alice, bob]
admins: [alice, group:ops]
rules:
  - name: databases
    allow: [group:dba, user:carol]
    leaves: [berlin, 'edge-*']
    nodes: ['db-*:5432', 'web:80,443', 'bastion']
  - name: never-the-vault
    deny: [everyone, anonymous]
    leaves: ['*']
    nodes: [vault]
`;

function problemsOf(text: string): readonly string[] {
  const outcome = readPolicy(text);
  assert.equal(outcome.ok, false, 'the policy was taken');
  return outcome.problems.map(problemText);
}

function warningsOf(text: string, users: string[] = [], groups: string[] = []): readonly string[] {
  const outcome = readPolicy(text, { users: new Set(users), groups: new Set(groups) });
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.warnings;
}

describe('a policy document', () => {
  it('is read as written', () => {
    const outcome = readPolicy(EXAMPLE);
    assert.ok(outcome.ok);
    assert.deepEqual(outcome.policy, {
      groups: new Map([['dba', ['alice', 'bob']]]),
      admins: [
        { kind: 'user', user: 'alice' },
        { kind: 'group', group: 'ops' },
      ],
      rules: [
        {
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
        },
        {
          name: 'never-the-vault',
          effect: 'deny',
          subjects: [{ kind: 'everyone' }, { kind: 'anonymous' }],
          leaves: ['*'],
          targets: [{ node: 'vault', ports: undefined }],
        },
      ],
      cutOpenConnections: true,
    });
  });

  it('may be empty, which denies all', () => {
    for (const text of ['', '# nothing yet\n', '{}', 'rules: []\nadmins: []\ngroups: {}']) {
      const outcome = readPolicy(text);
      assert.ok(outcome.ok, text);
      const question = { user: 'alice', groups: [], leaf: 'berlin', node: 'web', port: 80 };
      assert.equal(decide(outcome.policy, question).allowed, false);
    }
  });

  it('takes names for names, whatever they look like', () => {
    const outcome = readPolicy('rules: [{name: no, allow: [1e3, "007", true], leaves: [0755], nodes: [null, 12:22]}]');
    assert.ok(outcome.ok, JSON.stringify(outcome));
    const [rule] = outcome.policy.rules;
    assert.deepEqual(
      rule?.subjects.map((subject) => (subject.kind === 'user' ? subject.user : '')),
      ['1e3', '007', 'true'],
    );
    assert.deepEqual(rule?.leaves, ['0755']);
  });
});

describe('problems of a policy', () => {
  it('are all found at once, each with its place and remedy', () => {
    const text = `groups:
  dba: [Alice, group:web]
admins: [everyone]
rule: []
rules:
  - name: one
    allow: [group:dba]
    leaves: [Berlin]
    nodes: [db.berlin, 'web:0', 'a:b:c', '-x']
  - name: one
    leaves: []
    nodes: web
  - allow: [everyone]
    deny: [anonymous]
    leaves: ['*']
    nodes: ['*']
    name: both
`;
    assert.deepEqual(problemsOf(text), [
      'line 2, column 9: groups: "Alice" is no name of a user; use 1 to 128 of a-z 0-9 . _ @ - in lower case',
      'line 2, column 16: groups: groups do not nest; list the users',
      'line 3, column 10: admins[1]: everyone cannot administer; list users and groups',
      'line 4, column 1: "rule" is not known here; keys are groups, admins, rules, cutOpenConnections',
      'line 8, column 14: rules[1].leaves[1]: "Berlin" fits no name; use 1 to 63 of a-z 0-9 - and * for any run of characters',
      'line 9, column 13: rules[1].nodes[1]: "db.berlin" names a leaf cluster; those are listed under leaves',
      'line 9, column 24: rules[1].nodes[2]: "0" is no port; write numbers from 1 to 65535 with commas, or no colon for every port',
      'line 9, column 33: rules[1].nodes[3]: "a:b:c" has more than one colon; write NODE or NODE:PORT,PORT',
      'line 9, column 42: rules[1].nodes[4]: "-x" fits no name: names neither begin nor end with -',
      'line 10, column 11: rules[2].name: the rule on line 6 has the same name; names are unique',
      'line 11, column 13: rules[2].leaves: is empty; list at least one',
      'line 12, column 12: rules[2].nodes: must be a list: [a, b], or one line with "- " for each',
      'line 13, column 5: rules[3]: has both allow and deny; write one of the two',
    ]);
  });

  it('name what is missing', () => {
    assert.deepEqual(problemsOf('rules:\n  - allow: [everyone]\n    nodes: [web]\n'), [
      'line 2, column 5: rules[1]: there is no "name"',
      'line 2, column 5: rules[1]: there is no "leaves"',
    ]);
    assert.deepEqual(problemsOf('rules:\n  - { name: a, leaves: [a], nodes: [a] }\n'), [
      'line 2, column 5: rules[1]: has neither allow nor deny; write one of the two',
    ]);
  });

  it('include all that makes a text mean something else to another reader', () => {
    assert.match(
      problemsOf('admins: [alice]\nadmins: [bob]')[0] ?? '',
      /^line 2, column 1: "admins" stands here twice/,
    );
    assert.match(problemsOf('groups: {a: &x [alice], b: *x}').join('; '), /&x names something.*\*x repeats something/);
    assert.match(problemsOf('groups: {a: [b]}\n<<: {rules: []}').join('; '), /line 2, column 1: merge keys/);
    assert.match(problemsOf('admins: !!set [alice]').join('; '), /tag/i);
    assert.match(problemsOf('admins: !x alice').join('; '), /tag/i);
    assert.match(problemsOf('admins: []\n---\nadmins: [alice]')[0] ?? '', /second document/);
    assert.match(problemsOf('? [a, b]\n: c').join('; '), /keys are single texts/);
    assert.match(problemsOf('{admins: [alice}').join('; '), /is not YAML/);
    assert.match(problemsOf('- a\n- b').join('; '), /must be a mapping of keys/);
    assert.match(problemsOf('__proto__: {admins: [alice]}').join('; '), /"__proto__" is not known here/);
    assert.match(problemsOf('groups: {__proto__: [alice]}').join('; '), /"__proto__" is no name of a group/);
    assert.match(problemsOf('cutOpenConnections: yes').join('; '), /must be true or false/);
    assert.match(problemsOf('admins: ["user:anonymous"]').join('; '), /"user:anonymous" is nobody/);
    assert.match(problemsOf('groups: {a: [everyone]}').join('; '), /everyone is no user/);
    assert.match(problemsOf('rules: "\\e[2J\\u202e"\nadmins: ["\\e[2J"]').join('; '), /"\\u001b\[2J" is nobody/);
  });

  it('are found in time and memory that the text cannot blow up', () => {
    const laughs = ['a: &a [x,x,x,x,x,x,x,x,x]'];
    for (const [index, letter] of 'bcdefghi'.split('').entries()) {
      const before = 'abcdefghi'[index] ?? '';
      laughs.push(`${letter}: &${letter} [${Array.from({ length: 9 }, () => `*${before}`).join(',')}]`);
    }
    assert.ok(problemsOf(laughs.join('\n')).length > 9);
    assert.match(problemsOf(`rules: ${'['.repeat(200_000)}`).join('; '), /nests/);
    assert.match(problemsOf('x'.repeat(POLICY_LIMITS.bytes + 1))[0] ?? '', /more than 1048576 bytes/);
    const started = performance.now();
    const keys = Array.from({ length: 10_000 }, (_, index) => `k${index}: []`).join('\n');
    assert.equal(problemsOf(keys).length <= 51, true);
    assert.ok(performance.now() - started < 10_000, `took ${performance.now() - started} ms`);
  });

  it('include lists beyond their bounds', () => {
    const many = (count: number): string => Array.from({ length: count }, (_, index) => `n${index}`).join(', ');
    const rule = (leaves: string): string => `rules: [{name: a, allow: [everyone], nodes: [a], leaves: [${leaves}]}]`;
    assert.ok(readPolicy(rule(many(256))).ok);
    assert.deepEqual(problemsOf(rule(many(257))), ['line 1, column 58: rules[1].leaves: has more than 256 entries']);
  });
});

describe('warnings of a policy', () => {
  const rule = (text: string): string => `admins: [alice]\nrules:\n${text}`;

  it('say what decides nothing', () => {
    assert.deepEqual(warningsOf(''), [
      'no rule allows anything: every dial is denied',
      "no admins: only the registry's own administrator can change anything",
    ]);
    assert.deepEqual(warningsOf(EXAMPLE, [], ['ops']), []);
    const covered = `  - {name: a, allow: [alice], leaves: [edge-1], nodes: ['vault-*:22']}
  - {name: b, deny: [everyone], leaves: ['edge-*'], nodes: ['v*']}`;
    assert.deepEqual(warningsOf(rule(covered)), ['rule a can never match: rule b denies all that it allows']);
    assert.deepEqual(warningsOf(rule(covered.replace("'v*'", "'v*:23'"))), []);
  });

  it('say who may not be meant', () => {
    const text = `groups: {dba: [bob]}\n${rule('  - {name: a, allow: [dba, group:bob, group:web, group:sso], leaves: [x], nodes: [y]}')}`;
    assert.deepEqual(warningsOf(text, [], ['sso']), [
      'rule a: user:dba is nobody, but there is a group of that name; write group:dba',
      'rule a: there is no group bob, but a user of that name; write user:bob',
      'rule a: group web is not listed under groups; only single sign-on or users add --group can fill it',
    ]);
  });
});

describe('the canonical form', () => {
  it('is a policy document of the same meaning, whatever the order', () => {
    const outcome = readPolicy(EXAMPLE);
    assert.ok(outcome.ok);
    const again = readPolicy(canonicalPolicy(outcome.policy));
    assert.ok(again.ok);
    assert.equal(canonicalPolicy(again.policy), canonicalPolicy(outcome.policy));
    assert.deepEqual(readCanonicalPolicy(canonicalPolicy(outcome.policy)), again.policy);
    const turned = { ...outcome.policy, rules: [...outcome.policy.rules].reverse() };
    assert.equal(canonicalPolicy(turned), canonicalPolicy(outcome.policy));
  });
});

describe('the canonical reader', () => {
  it('takes nothing that could be read in two ways', () => {
    const text = canonicalPolicy({ groups: new Map(), admins: [], rules: [], cutOpenConnections: true });
    assert.ok(readCanonicalPolicy(text));
    for (const other of [
      '',
      'null',
      '[]',
      `${text} `,
      text.replace('{', '{"admins":["user:eve"],'),
      text.replace('{}', '{"__proto__":["eve"]}'),
      text.replace('[]', '["bob","alice"]'),
      text.replace('[]', '["alice"]'),
    ]) {
      assert.equal(readCanonicalPolicy(other), undefined, other);
    }
  });
});

describe('any text', () => {
  it('is read or refused, never thrown at', () => {
    const piece = fc.constantFrom(
      ...'{}[]:,-&*!|>\'"#\n '.split(''),
      'rules',
      'name',
      'allow',
      'a',
      '<<',
      '? ',
      '---\n',
      '\t',
    );
    const texts = fc.oneof(
      fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join('')),
      fc.string(),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const outcome = readPolicy(text);
        if (!outcome.ok) assert.ok(outcome.problems.every(({ message }) => !/[\n\u001b]/.test(message)));
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('reading in steps', () => {
  it('comes to the same as reading at once', async () => {
    for (const text of [EXAMPLE, '', 'rules: [', '--- {}\n--- {}', 'a: &b c\r\nd: *b', '['.repeat(50)]) {
      assert.deepEqual(await readPolicyInSteps(text), readPolicy(text));
    }
  });

  it('gives others their turn many times within the longest policy', async () => {
    const line = (index: number): string =>
      `  - { name: rule-${index}, allow: ['group:some-group'], leaves: [berlin], nodes: ['node-${index}-*:5432'] }`;
    const text = `rules:\n${Array.from({ length: 5_000 }, (_, index) => line(index)).join('\n')}\n`;
    let turns = 0;
    let over = false;
    const others = (async () => {
      for (; !over; turns += 1) await new Promise((resolve) => setImmediate(resolve));
    })();
    const outcome = await readPolicyInSteps(text);
    over = true;
    await others;
    assert.ok(outcome.ok);
    assert.equal(outcome.policy.rules.length, 5_000);
    assert.ok(turns >= 10, `${turns} turns`);
  });
});
