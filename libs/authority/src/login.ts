import { unchanged } from './plan.ts';
import type { Plan, Read } from './plan.ts';
import { encodeRecord } from './records.ts';
import type { Grant, IssuedFacts } from './join.ts';
import type { EarlierLogins, IdentityRecord } from './types.ts';

/**
 * What a user's login leaves behind. A user may log in at several machines, and each login lives to its own end: a rotation waits for
 * those that are behind, however often the user logs in anew.
 *
 * @param identity The user's record, as read.
 */
export function loginPlan(grant: Grant, identity: Read<IdentityRecord>, issued: IssuedFacts, nowMs: number): Plan {
  const before = identity.record;
  const isSame = before !== undefined && before.root === issued.root && before.trust === issued.trust;
  const notAfterMs = isSame ? Math.max(before.notAfterMs, issued.notAfterMs) : issued.notAfterMs;
  const earlier = merged([isSame ? undefined : before, before?.earlier], nowMs);
  const record: IdentityRecord = {
    identity: grant.identity,
    generation: grant.generation,
    previousKey: '',
    lock: undefined,
    ...issued,
    notAfterMs,
    ...(earlier === undefined ? {} : { earlier }),
  };
  return {
    compares: [unchanged(identity)],
    steps: [{ type: 'put', key: identity.key, value: encodeRecord(record), lease: 0n }],
  };
}

/** Those that are alive, as one. */
function merged(logins: readonly (EarlierLogins | undefined)[], nowMs: number): EarlierLogins | undefined {
  const alive = logins.flatMap((login) => (login !== undefined && login.notAfterMs > nowMs ? [login] : []));
  const [oldest] = [...alive].sort((a, b) => a.trust - b.trust);
  if (oldest === undefined) return undefined;
  const { root, trust } = oldest;
  return { root, trust, notAfterMs: Math.max(...alive.map((login) => login.notAfterMs)) };
}
