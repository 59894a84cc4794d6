import { matchesPattern } from './pattern.ts';
import { isSubject, principalsOf } from './principals.ts';
import type { Principals } from './principals.ts';
import { allowedBy, deniedBy, nearestMiss, noneAllows } from './reason.ts';
import type { Decision, DialQuestion, Policy, Rule } from './types.ts';

/**
 * Whether one dial is allowed. A matching rule that denies wins; else a matching rule that allows; else it is denied.
 * The order of the rules has no influence, not even on the reason: of several rules that decide alike, the one whose name
 * sorts first is named.
 *
 * Pure and total: any policy and any question have exactly one answer.
 */
export function decide(policy: Policy, question: DialQuestion): Decision {
  const principals = principalsOf(policy, question.user, question.groups);
  let denying: Rule | undefined;
  let allowing: Rule | undefined;
  for (const rule of policy.rules) {
    if (!matchesRule(rule, principals, question)) continue;
    if (rule.effect === 'deny') denying = firstOf(denying, rule);
    else allowing = firstOf(allowing, rule);
  }
  if (denying !== undefined) {
    return { allowed: false, rule: denying.name, reason: deniedBy(denying, allowing, principals, question) };
  }
  if (allowing !== undefined) {
    return { allowed: true, rule: allowing.name, reason: allowedBy(allowing, principals, question) };
  }
  return {
    allowed: false,
    rule: undefined,
    reason: nearestMiss(policy.rules, principals, question) ?? noneAllows(policy.rules, principals, question),
  };
}

function matchesRule(rule: Rule, principals: Principals, question: DialQuestion): boolean {
  return (
    rule.leaves.some((leaf) => matchesPattern(leaf, question.leaf)) &&
    rule.subjects.some((subject) => isSubject(subject, principals)) &&
    rule.targets.some(
      (target) =>
        (target.ports === undefined || target.ports.includes(question.port)) &&
        matchesPattern(target.node, question.node),
    )
  );
}

function firstOf(found: Rule | undefined, rule: Rule): Rule {
  return found === undefined || rule.name < found.name ? rule : found;
}
