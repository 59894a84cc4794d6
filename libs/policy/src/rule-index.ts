import { matchesPattern } from './pattern.ts';
import type { Policy, Rule, Subject } from './types.ts';

/** The rules of a policy by whom and where they speak of, and the groups of each user. */
export interface RuleIndex {
  readonly groupsOfUser: ReadonlyMap<string, readonly string[]>;
  /** Rules that name their leaf clusters in full, by each of them. */
  readonly byLeaf: ReadonlyMap<string, readonly Rule[]>;
  /** The others: some pattern of theirs has a `*`. */
  readonly anyLeaf: readonly Rule[];
  /** By `subjectKey`. */
  readonly bySubject: ReadonlyMap<string, readonly Rule[]>;
  readonly positions: ReadonlyMap<Rule, number>;
}

/** Policies never change, so that what was made of one stays true as long as somebody has it. */
const indexes = new WeakMap<Policy, RuleIndex>();
const NONE: readonly Rule[] = [];

/** Made with the first question about a policy: some 10 ms for 10,000 rules. */
export function indexOf(policy: Policy): RuleIndex {
  const known = indexes.get(policy);
  if (known !== undefined) return known;
  const made = makeIndex(policy);
  indexes.set(policy, made);
  return made;
}

/** `user:alice`, `group:dba`, `everyone`, `anonymous`. */
export function subjectKey(subject: Subject): string {
  switch (subject.kind) {
    case 'user':
      return `user:${subject.user}`;
    case 'group':
      return `group:${subject.group}`;
    case 'everyone':
    case 'anonymous':
      return subject.kind;
  }
}

/**
 * Rules among which are all that speak of one of these subjects and of this leaf cluster; others may be among them, and some twice.
 *
 * @param keys Every `subjectKey` that a person answers to.
 */
export function candidates(policy: Policy, keys: readonly string[], leaf: string): readonly Rule[] {
  const { byLeaf, anyLeaf, bySubject } = indexOf(policy);
  const there = byLeaf.get(leaf) ?? NONE;
  const theirs = keys.map((key) => bySubject.get(key) ?? NONE);
  const theirCount = theirs.reduce((sum, { length }) => sum + length, 0);
  return there.length + anyLeaf.length <= theirCount ? [...there, ...anyLeaf] : theirs.flat();
}

/** The rules that speak of a leaf cluster, in the policy's order. */
export function rulesOf(policy: Policy, leaf: string): readonly Rule[] {
  const { byLeaf, anyLeaf, positions } = indexOf(policy);
  const matching = anyLeaf.filter(({ leaves }) => leaves.some((pattern) => matchesPattern(pattern, leaf)));
  return [...(byLeaf.get(leaf) ?? NONE), ...matching].sort((a, b) => (positions.get(a) ?? 0) - (positions.get(b) ?? 0));
}

function makeIndex({ groups, rules }: Policy): RuleIndex {
  const groupsOfUser = new Map<string, string[]>();
  for (const [group, members] of groups) for (const user of new Set(members)) append(groupsOfUser, user, group);
  const byLeaf = new Map<string, Rule[]>();
  const bySubject = new Map<string, Rule[]>();
  const anyLeaf: Rule[] = [];
  const positions = new Map<Rule, number>();
  for (const [position, rule] of rules.entries()) {
    positions.set(rule, position);
    for (const key of new Set(rule.subjects.map(subjectKey))) append(bySubject, key, rule);
    if (rule.leaves.some((pattern) => pattern.includes('*'))) anyLeaf.push(rule);
    else for (const leaf of new Set(rule.leaves)) append(byLeaf, leaf, rule);
  }
  return { groupsOfUser, byLeaf, anyLeaf, bySubject, positions };
}

function append<Value>(lists: Map<string, Value[]>, key: string, value: Value): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
