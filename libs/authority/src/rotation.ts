import type { EarlierLogins, IdentityRecord, RotationPhase, TrustRecord, TrustRoot } from './types.ts';

/** A certificate that has ended keeps nobody waiting; clocks may differ by this much. */
const CLOCK_TOLERANCE_MS = 60_000;

const USER_PREFIX = 'user/';

export type NewRoot = Omit<TrustRoot, 'state'>;

/** The trust of a domain that begins. */
export function firstTrust(root: NewRoot): TrustRecord {
  return { phase: 'steady', generation: 1, roots: [{ ...root, state: 'active' }] };
}

/** The root that signs intermediates now. */
export function activeRoot(trust: TrustRecord): TrustRoot {
  const active = trust.roots.find(({ state }) => state === 'active');
  if (active === undefined) throw new Error('bug in authority: no root is active');
  return active;
}

/** What everybody trusts now, the active root first. A root that is only prepared is not trusted yet. */
export function trustedRoots(trust: TrustRecord): readonly TrustRoot[] {
  const active = activeRoot(trust);
  const others = trust.roots.filter((root) => root !== active);
  return trust.phase === 'prepared' ? [active] : [active, ...others];
}

export function trustPem(trust: TrustRecord): string {
  return trustedRoots(trust)
    .map(({ pem }) => pem)
    .join('');
}

/** Whether the next step forward needs a new root to be made first. */
export function needsNewRoot(trust: TrustRecord): boolean {
  return trust.phase === 'steady';
}

/** One phase on. `made` is the new root where one is needed. */
export function stepForward(trust: TrustRecord, made: NewRoot | undefined): TrustRecord {
  const active = activeRoot(trust);
  switch (trust.phase) {
    case 'steady': {
      if (made === undefined) throw new Error('bug in authority: no root was made for the rotation');
      // Nobody trusts it yet and it signs nothing: there is nothing to learn.
      return { phase: 'prepared', generation: trust.generation, roots: [active, { ...made, state: 'next' }] };
    }
    case 'prepared':
      return { phase: 'trusted', generation: trust.generation + 1, roots: trust.roots };
    case 'trusted':
      return swapped(trust, 'signing');
    case 'signing':
      return { phase: 'steady', generation: trust.generation + 1, roots: [active] };
  }
}

/** One phase back; undefined when there is nothing to take back. */
export function stepBack(trust: TrustRecord): TrustRecord | undefined {
  const active = activeRoot(trust);
  switch (trust.phase) {
    case 'steady':
      return undefined;
    case 'prepared':
      return { phase: 'steady', generation: trust.generation, roots: [active] };
    case 'trusted':
      return { phase: 'prepared', generation: trust.generation + 1, roots: trust.roots };
    case 'signing':
      return swapped(trust, 'trusted');
  }
}

/** Whom a step would cut off. */
export interface Behind {
  /** Agents, root proxies and registries, in order: they follow within half the life of a certificate, or are gone. */
  readonly members: readonly string[];
  /** Users, in order: they follow by logging in again, which nobody makes them do. */
  readonly users: readonly string[];
  /** When the last of the users' certificates that are behind has ended, whatever they do; 0 when there is none. */
  readonly usersUntilMs: number;
}

/**
 * Identities that a step in this direction would cut off: a certificate of theirs was issued before they could learn what is trusted
 * now, or leads to a root that the step takes away. Whoever has no certificate that is alive waits for none.
 */
export function behind(
  trust: TrustRecord,
  records: readonly IdentityRecord[],
  direction: 'forward' | 'back',
  nowMs: number,
): Behind {
  const { fingerprint } = activeRoot(trust);
  const isBehind = ({ root, trust: learnt }: EarlierLogins): boolean => {
    const foreign = root !== fingerprint;
    switch (trust.phase) {
      case 'steady':
        return false;
      case 'prepared':
        return foreign;
      case 'trusted':
        return direction === 'forward' ? learnt < trust.generation : foreign;
      case 'signing':
        return direction === 'forward' && (foreign || learnt < trust.generation);
    }
  };
  const isAlive = ({ notAfterMs }: EarlierLogins): boolean => notAfterMs > nowMs - CLOCK_TOLERANCE_MS;
  const left = records.flatMap((record) => {
    const certificates = record.earlier === undefined ? [record] : [record, record.earlier];
    const ends = certificates.filter((each) => isAlive(each) && isBehind(each)).map(({ notAfterMs }) => notAfterMs);
    return record.lock === undefined && ends.length > 0 ? [{ identity: record.identity, end: Math.max(...ends) }] : [];
  });
  const isUser = ({ identity }: { readonly identity: string }): boolean => identity.startsWith(USER_PREFIX);
  const users = left.filter(isUser);
  const names = (those: typeof left): readonly string[] => those.map(({ identity }) => identity).sort();
  return {
    members: names(left.filter((each) => !isUser(each))),
    users: names(users),
    usersUntilMs:
      users.length === 0 ? 0 : users.reduce((latest, { end }) => Math.max(latest, end), 0) + CLOCK_TOLERANCE_MS,
  };
}

/** The other root signs from now on; both stay trusted. */
function swapped(trust: TrustRecord, phase: RotationPhase): TrustRecord {
  const other = phase === 'signing' ? 'previous' : 'next';
  const roots = trust.roots.map((root): TrustRoot => ({ ...root, state: root.state === 'active' ? other : 'active' }));
  return { phase, generation: trust.generation + 1, roots };
}
