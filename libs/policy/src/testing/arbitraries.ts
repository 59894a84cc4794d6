import fc from 'fast-check';
import type { DialQuestion, Policy, Rule, Subject, TargetPattern } from '../types.ts';

// Few names, so that rules and questions meet often.
const user = fc.constantFrom('alice', 'bob', 'carol');
const group = fc.constantFrom('dba', 'ops', 'web');
const leaf = fc.constantFrom('berlin', 'tokyo', 'edge-1', 'edge-2');
const node = fc.constantFrom('db', 'db-1', 'db-2', 'vault', 'web');
const port = fc.constantFrom(22, 80, 443, 5432);

const subject: fc.Arbitrary<Subject> = fc.oneof(
  { weight: 4, arbitrary: user.map((name): Subject => ({ kind: 'user', user: name })) },
  { weight: 4, arbitrary: group.map((name): Subject => ({ kind: 'group', group: name })) },
  { weight: 1, arbitrary: fc.constantFrom<Subject>({ kind: 'everyone' }, { kind: 'anonymous' }) },
);
const target: fc.Arbitrary<TargetPattern> = fc.record({
  node: fc.oneof(node, fc.constantFrom('*', 'db-*', '*b', 'v*t', 'd*-*')),
  ports: fc.option(fc.uniqueArray(port, { minLength: 1, maxLength: 3 }), { nil: undefined }),
});
const rule: fc.Arbitrary<Omit<Rule, 'name'>> = fc.record({
  effect: fc.constantFrom('allow', 'allow', 'deny'),
  subjects: fc.array(subject, { minLength: 1, maxLength: 3 }),
  leaves: fc.array(fc.oneof(leaf, fc.constantFrom('*', 'edge-*')), { minLength: 1, maxLength: 2 }),
  targets: fc.array(target, { minLength: 1, maxLength: 3 }),
});

/** Policies over few names; rule names are `r0`, `r1`, ... */
export const policies: fc.Arbitrary<Policy> = fc.record({
  groups: fc
    .dictionary(group, fc.uniqueArray(user, { maxLength: 2 }), { noNullPrototype: true })
    .map((groups) => new Map(Object.entries(groups))),
  admins: fc.array(subject, { maxLength: 2 }),
  rules: fc.array(rule, { maxLength: 6 }).map((rules) => rules.map((each, index) => ({ ...each, name: `r${index}` }))),
  cutOpenConnections: fc.boolean(),
});

/** Questions over the same names. */
export const questions: fc.Arbitrary<DialQuestion> = fc.record({
  user: fc.option(user, { nil: undefined, freq: 6 }),
  groups: fc.uniqueArray(group, { maxLength: 2 }),
  leaf,
  node,
  port,
});
