import { indexOf, subjectKey } from './rule-index.ts';
import type { Policy, Subject } from './types.ts';

/** Everything a person can be addressed as in a policy. */
export interface Principals {
  /** undefined: anonymous, and then no group is any of theirs. */
  readonly user: string | undefined;
  readonly groups: ReadonlySet<string>;
}

const ANONYMOUS: Principals = { user: undefined, groups: new Set() };

/**
 * Who somebody is to a policy: the user, the groups that list the user, and those known from elsewhere (the registry's
 * records, single sign-on). Groups add up and never nest. An anonymous visitor is in no group, whatever is claimed.
 */
export function principalsOf(policy: Policy, user: string | undefined, groups: readonly string[]): Principals {
  if (user === undefined) return ANONYMOUS;
  return { user, groups: new Set([...groups, ...(indexOf(policy).groupsOfUser.get(user) ?? [])]) };
}

/** Everything that rules call this person: the keys of `candidates`. */
export function subjectKeysOf({ user, groups }: Principals): readonly string[] {
  if (user === undefined) return [subjectKey({ kind: 'anonymous' })];
  const named = [...groups].map((group) => subjectKey({ kind: 'group', group }));
  return [subjectKey({ kind: 'everyone' }), subjectKey({ kind: 'user', user }), ...named];
}

/** Whether a rule's subject speaks of this person. */
export function isSubject(subject: Subject, principals: Principals): boolean {
  switch (subject.kind) {
    case 'anonymous':
      return principals.user === undefined;
    case 'everyone':
      return principals.user !== undefined;
    case 'user':
      return principals.user === subject.user;
    case 'group':
      return principals.groups.has(subject.group);
  }
}

/**
 * Whether this user administers the deployment. `everyone` and `anonymous` make nobody an administrator, even should a
 * policy that was built by hand list them.
 */
export function isAdmin(policy: Policy, user: string | undefined, groups: readonly string[]): boolean {
  if (user === undefined) return false;
  const principals = principalsOf(policy, user, groups);
  return policy.admins.some(
    (subject) => (subject.kind === 'user' || subject.kind === 'group') && isSubject(subject, principals),
  );
}
