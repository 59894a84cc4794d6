import { matchesPattern } from './pattern.ts';
import { isSubject, principalsOf, subjectKeysOf } from './principals.ts';
import type { Principals } from './principals.ts';
import { allowedBy, deniedBy, nearestMiss, noneAllows } from './reason.ts';
import { candidates } from './rule-index.ts';
import type { Decision, DialQuestion, Policy, Rule, TargetPattern } from './types.ts';

const PORTS = 65_535;

/**
 * Whether one dial is allowed. A matching rule that denies wins; else a matching rule that allows; else it is denied.
 * The order of the rules has no influence, not even on the reason: of several rules that decide alike, the one whose name
 * sorts first is named.
 *
 * Pure and total: any policy and any question have exactly one answer. Looks only at rules that speak of the leaf cluster or of the
 * person, whichever are fewer; the reason, which may need all of them, is found when it is read.
 */
export function decide(policy: Policy, question: DialQuestion): Decision {
  const principals = principalsOf(policy, question.user, question.groups);
  let denying: Rule | undefined;
  let allowing: Rule | undefined;
  for (const rule of candidates(policy, subjectKeysOf(principals), question.leaf)) {
    if (!speaksOf(rule, principals, question) || !targetsOf(rule, question).some(hasPort(question.port))) continue;
    if (rule.effect === 'deny') denying = firstOf(denying, rule);
    else allowing = firstOf(allowing, rule);
  }
  return decisionOf(policy, principals, question, { denying, allowing });
}

/**
 * As `decide` for a node whose port is not known yet: allowed when there is a port that would be. Takes as long as one decision,
 * whatever ports the policy lists.
 *
 * @param question Its port is not looked at.
 */
export function decideSomePort(policy: Policy, question: Omit<DialQuestion, 'port'>): Decision {
  const principals = principalsOf(policy, question.user, question.groups);
  const rules = candidates(policy, subjectKeysOf(principals), question.leaf).filter((rule) =>
    speaksOf(rule, principals, question),
  );
  const denied = portsOf(rules, 'deny', question);
  const allowed = portsOf(rules, 'allow', question);
  const port = denied === 'every' ? undefined : firstBeyond(denied, allowed);
  // Where none is allowed, the rule that denies is named, if one does so for every port.
  return decide(policy, { ...question, port: port ?? unlisted(denied, allowed) });
}

function decisionOf(
  policy: Policy,
  principals: Principals,
  question: DialQuestion,
  { denying, allowing }: { readonly denying: Rule | undefined; readonly allowing: Rule | undefined },
): Decision {
  if (denying !== undefined) {
    return {
      allowed: false,
      rule: denying.name,
      get reason() {
        return deniedBy(denying, allowing, principals, question);
      },
    };
  }
  if (allowing !== undefined) {
    return {
      allowed: true,
      rule: allowing.name,
      get reason() {
        return allowedBy(allowing, principals, question);
      },
    };
  }
  return {
    allowed: false,
    rule: undefined,
    get reason() {
      const { rules } = policy;
      return nearestMiss(rules, principals, question) ?? noneAllows(rules, principals, question);
    },
  };
}

function speaksOf(rule: Rule, principals: Principals, { leaf }: Pick<DialQuestion, 'leaf'>): boolean {
  return (
    rule.leaves.some((pattern) => matchesPattern(pattern, leaf)) &&
    rule.subjects.some((subject) => isSubject(subject, principals))
  );
}

function targetsOf({ targets }: Rule, { node }: Pick<DialQuestion, 'node'>): readonly TargetPattern[] {
  return targets.filter((target) => matchesPattern(target.node, node));
}

function hasPort(port: number): (target: TargetPattern) => boolean {
  return ({ ports }) => ports === undefined || ports.includes(port);
}

/** The ports of a node that rules with this effect speak of. */
function portsOf(
  rules: readonly Rule[],
  effect: Rule['effect'],
  question: Pick<DialQuestion, 'node'>,
): ReadonlySet<number> | 'every' {
  const ports = new Set<number>();
  for (const rule of rules) {
    if (rule.effect !== effect) continue;
    for (const target of targetsOf(rule, question)) {
      if (target.ports === undefined) return 'every';
      for (const port of target.ports) ports.add(port);
    }
  }
  return ports;
}

/** A port that is allowed and not denied. */
function firstBeyond(denied: ReadonlySet<number>, allowed: ReadonlySet<number> | 'every'): number | undefined {
  if (allowed === 'every') return denied.size < PORTS ? unlisted(denied, denied) : undefined;
  for (const port of allowed) if (!denied.has(port)) return port;
  return undefined;
}

/** The lowest port that none of the two lists. */
function unlisted(a: ReadonlySet<number> | 'every', b: ReadonlySet<number> | 'every'): number {
  let port = 1;
  while (port < PORTS && ((a !== 'every' && a.has(port)) || (b !== 'every' && b.has(port)))) port += 1;
  return port;
}

function firstOf(found: Rule | undefined, rule: Rule): Rule {
  return found === undefined || rule.name < found.name ? rule : found;
}
