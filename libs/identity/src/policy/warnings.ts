import { matchesPattern } from '@xylem/policy';
import type { Policy, Rule, Subject, TargetPattern } from '@xylem/policy';
import { subjectText } from './grammar.ts';

/** Users and groups that exist outside the policy. */
export interface KnownNames {
  readonly users: ReadonlySet<string>;
  readonly groups: ReadonlySet<string>;
}

/** Beyond these nobody reads on. */
const MAX_WARNINGS = 50;
/** Pairs of rules that are compared; a policy with more gets fewer of these warnings, not a slower answer. */
const MAX_COMPARISONS = 200_000;

/** What is odd in a valid policy; one line each, in the policy's order. */
export function warningsOf(policy: Policy, known?: KnownNames): readonly string[] {
  const warnings = [...generalWarnings(policy), ...subjectWarnings(policy, known), ...shadowWarnings(policy.rules)];
  const more = warnings.length - MAX_WARNINGS;
  return more <= 0 ? warnings : [...warnings.slice(0, MAX_WARNINGS), `and ${more} more warnings`];
}

function generalWarnings(policy: Policy): readonly string[] {
  const warnings: string[] = [];
  if (!policy.rules.some(({ effect }) => effect === 'allow'))
    warnings.push('no rule allows anything: every dial is denied');
  if (policy.admins.length === 0) warnings.push("no admins: only the registry's own administrator can change anything");
  for (const [group, members] of policy.groups) {
    if (members.length === 0) warnings.push(`group ${group} is empty`);
  }
  return warnings;
}

function subjectWarnings(policy: Policy, known: KnownNames | undefined): readonly string[] {
  const places = new Map<string, { readonly subject: Subject; readonly where: string }>();
  const note = (subjects: readonly Subject[], where: string): void => {
    for (const subject of subjects) {
      const text = subjectText(subject);
      if (!places.has(text)) places.set(text, { subject, where });
    }
  };
  note(policy.admins, 'admins');
  for (const rule of policy.rules) note(rule.subjects, `rule ${rule.name}`);
  const users = new Set([...policy.groups.values()].flat());
  for (const user of known?.users ?? []) users.add(user);
  return [...places.values()].flatMap(({ subject, where }) => oddSubject(subject, where, policy, users, known) ?? []);
}

function oddSubject(
  subject: Subject,
  where: string,
  policy: Policy,
  users: ReadonlySet<string>,
  known: KnownNames | undefined,
): string | undefined {
  if (subject.kind === 'user') {
    const isGroup = policy.groups.has(subject.user) || known?.groups.has(subject.user) === true;
    if (isGroup && !users.has(subject.user)) {
      return `${where}: user:${subject.user} is nobody, but there is a group of that name; write group:${subject.user}`;
    }
    return undefined;
  }
  if (subject.kind !== 'group' || policy.groups.has(subject.group) || known?.groups.has(subject.group) === true) {
    return undefined;
  }
  if (users.has(subject.group)) {
    return `${where}: there is no group ${subject.group}, but a user of that name; write user:${subject.group}`;
  }
  return `${where}: group ${subject.group} is not listed under groups; only single sign-on or users add --group can fill it`;
}

/** Allow rules that one deny rule covers whole, and so never decide. */
function shadowWarnings(rules: readonly Rule[]): readonly string[] {
  const denies = rules.filter(({ effect }) => effect === 'deny');
  const warnings: string[] = [];
  let left = MAX_COMPARISONS;
  for (const rule of rules) {
    if (rule.effect === 'deny') continue;
    const cover = denies.find((deny) => (left -= 1) >= 0 && covers(deny, rule));
    if (cover !== undefined) {
      warnings.push(`rule ${rule.name} can never match: rule ${cover.name} denies all that it allows`);
    }
  }
  return warnings;
}

/** A pattern covers another when it matches it as a text: the other's `*` then lies within one of its own. */
function covers(deny: Rule, allow: Rule): boolean {
  return (
    allow.leaves.every((leaf) => deny.leaves.some((pattern) => matchesPattern(pattern, leaf))) &&
    allow.subjects.every((subject) => deny.subjects.some((denied) => coversSubject(denied, subject))) &&
    allow.targets.every((target) => deny.targets.some((denied) => coversTarget(denied, target)))
  );
}

function coversSubject(denied: Subject, subject: Subject): boolean {
  if (subject.kind === 'anonymous') return denied.kind === 'anonymous';
  return denied.kind === 'everyone' || subjectText(denied) === subjectText(subject);
}

function coversTarget(denied: TargetPattern, target: TargetPattern): boolean {
  if (!matchesPattern(denied.node, target.node)) return false;
  const { ports } = denied;
  return ports === undefined || (target.ports !== undefined && target.ports.every((port) => ports.includes(port)));
}
