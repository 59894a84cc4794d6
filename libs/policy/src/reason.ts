import { matchesPattern } from './pattern.ts';
import { isSubject } from './principals.ts';
import type { Principals } from './principals.ts';
import { subjectKey } from './rule-index.ts';
import type { DialQuestion, Rule, TargetPattern } from './types.ts';

/** Lists in reasons are cut after so many: a reason is one line. */
const SHOWN = 4;

/** `rule databases allows group:dba to reach db-1.berlin:5432`. */
export function allowedBy(rule: Rule, principals: Principals, question: DialQuestion): string {
  return `rule ${rule.name} allows ${subjectText(rule, principals)} to reach ${targetText(question)}`;
}

/** Names the rule that denies, and the one that would have allowed. */
export function deniedBy(
  rule: Rule,
  allowing: Rule | undefined,
  principals: Principals,
  question: DialQuestion,
): string {
  const denied = `rule ${rule.name} denies ${subjectText(rule, principals)} to reach ${targetText(question)}`;
  return allowing === undefined ? denied : `${denied}; it wins over rule ${allowing.name}, which allows it`;
}

/** What is said when no rule comes near. */
export function noneAllows(rules: readonly Rule[], principals: Principals, question: DialQuestion): string {
  if (!rules.some((rule) => rule.effect === 'allow')) return 'no rule of the policy allows anything, so all is denied';
  return `no rule allows ${personText(principals)} to reach ${targetText(question)}`;
}

/** How far one allow rule came. */
interface Miss {
  readonly rule: Rule;
  readonly who: boolean;
  readonly leaf: boolean;
  readonly node: boolean;
  readonly score: number;
}

/**
 * The allow rule that missed by one thing only, or by node and port for somebody it speaks of; undefined when there is
 * none. Of several the one that fits in more, then the one whose name sorts first.
 */
export function nearestMiss(
  rules: readonly Rule[],
  principals: Principals,
  question: DialQuestion,
): string | undefined {
  let nearest: Miss | undefined;
  for (const rule of rules) {
    if (rule.effect !== 'allow') continue;
    const miss = missOf(rule, principals, question);
    if (miss === undefined) continue;
    const nearer = nearest === undefined || miss.score > nearest.score;
    if (nearer || (miss.score === nearest?.score && rule.name < nearest.rule.name)) nearest = miss;
  }
  return nearest === undefined ? undefined : missText(nearest, principals, question);
}

function missOf(rule: Rule, principals: Principals, question: DialQuestion): Miss | undefined {
  const who = rule.subjects.some((subject) => isSubject(subject, principals));
  const leaf = rule.leaves.some((pattern) => matchesPattern(pattern, question.leaf));
  const targets = rule.targets.filter((target) => matchesPattern(target.node, question.node));
  const node = targets.length > 0;
  const port = targets.some((target) => target.ports === undefined || target.ports.includes(question.port));
  if ([who, leaf, port].filter(Boolean).length < 2) return undefined;
  // A rule that speaks of the person is of more use to them than one that speaks of the same node.
  return { rule, who, leaf, node, score: (who ? 4 : 0) + (leaf ? 2 : 0) + (node ? 1 : 0) + (port ? 1 : 0) };
}

function missText(miss: Miss, principals: Principals, question: DialQuestion): string {
  const { rule } = miss;
  const allows = `rule ${rule.name} allows`;
  if (!miss.who) {
    const subjects = listed(rule.subjects.map(subjectKey));
    return `${allows} ${targetText(question)}, but only to ${subjects}, not to ${personText(principals)}`;
  }
  const who = subjectText(rule, principals);
  if (!miss.leaf) {
    return `${allows} ${who} ${question.node}:${question.port}, but only in ${listed(rule.leaves)}, not in ${question.leaf}`;
  }
  const onLeaf = `${allows} ${who} on ${question.leaf}, but only`;
  if (!miss.node) return `${onLeaf} ${listed(rule.targets.map(targetName))}, not ${question.node}`;
  const near = rule.targets.filter((target) => matchesPattern(target.node, question.node)).map(portsName);
  return `${onLeaf} ${listed(near)}, not port ${question.port}`;
}

/** As which the rule speaks of the person: the user before a group, a group before everyone. */
function subjectText(rule: Rule, principals: Principals): string {
  const names = rule.subjects.filter((subject) => isSubject(subject, principals)).map(subjectKey);
  const rank = (name: string): number => (name.startsWith('user:') ? 0 : name.startsWith('group:') ? 1 : 2);
  const [first] = names.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  return first ?? personText(principals);
}

function personText(principals: Principals): string {
  if (principals.user === undefined) return 'anonymous';
  const groups = [...principals.groups].sort();
  return groups.length === 0 ? principals.user : `${principals.user} (${listed(groups)})`;
}

function targetText(question: DialQuestion): string {
  return `${question.node}.${question.leaf}:${question.port}`;
}

function targetName(target: TargetPattern): string {
  return target.ports === undefined ? target.node : `${target.node}:${listed(target.ports.map(String), ',')}`;
}

function portsName(target: TargetPattern): string {
  const ports = (target.ports ?? []).map(String);
  return `port${ports.length === 1 ? '' : 's'} ${listed(ports)} of ${target.node}`;
}

function listed(items: readonly string[], separator = ', '): string {
  if (items.length <= SHOWN) return items.join(separator);
  return `${items.slice(0, SHOWN).join(separator)} and ${items.length - SHOWN} more`;
}
