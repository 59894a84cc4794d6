import type { Policy } from '@xylem/policy';
import { subjectText, targetText } from './grammar.ts';

/**
 * A policy as JSON that depends on its meaning only, not on how or in which order it was written: equal texts, equal
 * decisions. Valid as a policy document, too. For comparing, signing and hashing.
 */
export function canonicalPolicy(policy: Policy): string {
  const rules = [...policy.rules].sort((a, b) => order(a.name, b.name));
  return JSON.stringify({
    admins: sorted(policy.admins.map(subjectText)),
    cutOpenConnections: policy.cutOpenConnections,
    groups: Object.fromEntries(
      [...policy.groups].sort(([a], [b]) => order(a, b)).map(([group, members]) => [group, sorted(members)]),
    ),
    rules: rules.map(({ name, effect, subjects, leaves, targets }) => ({
      name,
      [effect]: sorted(subjects.map(subjectText)),
      leaves: sorted(leaves),
      nodes: sorted(targets.map(targetText)),
    })),
  });
}

function sorted(texts: readonly string[]): readonly string[] {
  return [...new Set(texts)].sort(order);
}

/** By code units, the same on every machine. */
function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
