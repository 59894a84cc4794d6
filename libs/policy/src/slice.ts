import { rulesOf } from './rule-index.ts';
import type { Policy } from './types.ts';

/**
 * The part of a policy that decides about one leaf cluster, for its standing grants: it decides every question about that
 * leaf cluster as the whole does (same answer, same rule), denies all others, and tells nothing about them. Without admins.
 */
export function sliceFor(policy: Policy, leaf: string): Policy {
  const rules = rulesOf(policy, leaf).map((rule) => ({ ...rule, leaves: [leaf] }));
  const named = new Set<string>();
  for (const rule of rules) for (const subject of rule.subjects) if (subject.kind === 'group') named.add(subject.group);
  const groups = new Map([...policy.groups].filter(([group]) => named.has(group)));
  return { groups, admins: [], rules, cutOpenConnections: policy.cutOpenConnections };
}

/**
 * The policy with groups from elsewhere written into it, so that it decides alone: questions about it need no `groups`.
 *
 * @param groupsByUser The registry's records.
 */
export function withMembers(policy: Policy, groupsByUser: ReadonlyMap<string, readonly string[]>): Policy {
  const groups = new Map<string, Set<string>>();
  for (const [group, members] of policy.groups) groups.set(group, new Set(members));
  for (const [user, memberships] of groupsByUser) {
    for (const group of memberships) {
      const members = groups.get(group);
      if (members === undefined) groups.set(group, new Set([user]));
      else members.add(user);
    }
  }
  const sorted = [...groups.keys()].sort().map((group) => [group, [...(groups.get(group) ?? [])].sort()] as const);
  return { ...policy, groups: new Map(sorted) };
}
