import type { IdentityRecord, RotationPhase, TrustRecord, TrustRoot } from './types.ts';

/** A certificate that has ended keeps nobody waiting; clocks may differ by this much. */
const CLOCK_TOLERANCE_MS = 60_000;

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

/**
 * Identities that a step in this direction would cut off, in order: their newest certificate was issued before they could
 * learn what is trusted now, or leads to a root that the step takes away. Whoever has no certificate that is alive waits for none.
 */
export function behind(
  trust: TrustRecord,
  records: readonly IdentityRecord[],
  direction: 'forward' | 'back',
  nowMs: number,
): readonly string[] {
  const { fingerprint } = activeRoot(trust);
  const isAlive = ({ notAfterMs, lock }: IdentityRecord): boolean =>
    lock === undefined && notAfterMs > nowMs - CLOCK_TOLERANCE_MS;
  const isBehind = ({ root, trust: learnt }: IdentityRecord): boolean => {
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
  return records
    .filter((record) => isAlive(record) && isBehind(record))
    .map(({ identity }) => identity)
    .sort();
}

/** The other root signs from now on; both stay trusted. */
function swapped(trust: TrustRecord, phase: RotationPhase): TrustRecord {
  const other = phase === 'signing' ? 'previous' : 'next';
  const roots = trust.roots.map((root): TrustRoot => ({ ...root, state: root.state === 'active' ? other : 'active' }));
  return { phase, generation: trust.generation + 1, roots };
}
