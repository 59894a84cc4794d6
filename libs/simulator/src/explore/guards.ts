import type { RegistryEffect, RegistryEvent, StoreOperation, TxnOperation } from '@xylem/membership';
import type { Tap } from '../cores.ts';

export const GUARD_NAMES = [
  'acquire-vacant',
  'acquire-member',
  'acquire-seat',
  'acquire-lease',
  'acquire-incarnation',
  'release-token',
  'seat-refresh',
  'seat-vacant',
  'displace-revoke',
  'agent-fence',
] as const;

/** One line of defence of the claim protocol that the explorer can leave out. */
export type GuardName = (typeof GUARD_NAMES)[number];

export interface Guard {
  readonly name: GuardName;
  /** What is left out. */
  readonly what: string;
  /** Why leaving it out alone breaks nothing; undefined when the explorer has to find a violation. */
  readonly covered?: string;
  /** Made anew for each registry. */
  readonly registry?: () => Tap<RegistryEvent, RegistryEffect>;
  /** Agents serve dials of any incarnation. */
  readonly unfencedAgents?: boolean;
}

function rewrite(change: (txn: TxnOperation) => StoreOperation): Tap<RegistryEvent, RegistryEffect> {
  return {
    effect: (effect) =>
      effect.type === 'request' && effect.request.type === 'txn'
        ? [{ ...effect, request: change(effect.request) }]
        : [effect],
  };
}

function writes(txn: TxnOperation, type: 'put' | 'delete', area: string): boolean {
  return txn.success.some((step) => step.type === type && step.key.includes(`/${area}/`));
}

/** The transactions that put or delete a key of `area`, without the comparisons of keys in `compared`. */
function without(
  type: 'put' | 'delete',
  area: string,
  compared: readonly string[],
): Tap<RegistryEvent, RegistryEffect> {
  return rewrite((txn) => (writes(txn, type, area) ? omit(txn, compared) : txn));
}

function omit(txn: TxnOperation, compared: readonly string[]): TxnOperation {
  return {
    ...txn,
    compares: txn.compares.filter(({ key }) => !compared.some((area) => key.includes(`/${area}/`))),
  };
}

function leaseless(txn: TxnOperation): TxnOperation {
  return { ...txn, success: txn.success.map((step) => (step.type === 'put' ? { ...step, lease: 0n } : step)) };
}

const onClaimPut = (change: (txn: TxnOperation) => TxnOperation): Tap<RegistryEvent, RegistryEffect> =>
  rewrite((txn) => (writes(txn, 'put', 'claims') ? change(txn) : txn));

/** An older instance's member record is deleted by itself, its claims stay under their lease. */
function deleteMemberOnly(): Tap<RegistryEvent, RegistryEffect> {
  return {
    effect: (effect, tell) => {
      if (effect.type !== 'request' || effect.request.type !== 'leaseRevoke') return [effect];
      tell({
        type: 'storeReplied',
        operation: effect.operation,
        outcome: { status: 'failed', cause: 'lease-not-found', detail: 'left out' },
      });
      return [];
    },
  };
}

/** Every guard by its name; table of docs/SIMULATION.md. */
export const GUARDS: readonly Guard[] = [
  {
    name: 'acquire-vacant',
    what: 'a claim is recorded only where there is none: `create(claim)==0`',
    registry: () => without('put', 'claims', ['claims']),
  },
  {
    name: 'acquire-member',
    what: 'a claim is recorded only for the member as registered: `create(member)==p`',
    covered: 'the seat, which each registration takes, and the lease, which goes with the member, say the same',
    registry: () => without('put', 'claims', ['proxies']),
  },
  {
    name: 'acquire-seat',
    what: 'a claim is recorded only from the seat as known: `mod(seat)==s`',
    registry: () => without('put', 'claims', ['sessions']),
  },
  {
    name: 'acquire-lease',
    what: 'a claim lapses with its member: it hangs on the same lease',
    registry: () => onClaimPut(leaseless),
  },
  {
    name: 'acquire-incarnation',
    what: 'all three at once: member, seat and lease',
    registry: () => onClaimPut((txn) => leaseless(omit(txn, ['proxies', 'sessions']))),
  },
  {
    name: 'release-token',
    what: 'a record is deleted only by its own token: `create(claim)==t`',
    registry: () => without('delete', 'claims', ['claims']),
  },
  {
    name: 'seat-refresh',
    what: 'after an unknown outcome the seat is put again before anything else is written',
    registry: () => ({
      event: (event) =>
        event.type === 'storeReplied' && event.outcome.status === 'unknown'
          ? [{ ...event, outcome: { status: 'failed', cause: 'unavailable', detail: event.outcome.detail } }]
          : [event],
    }),
  },
  {
    name: 'seat-vacant',
    what: 'a seat is taken only where no living instance has it: `mod(seat)==expected`',
    registry: () => without('put', 'sessions', ['sessions']),
  },
  {
    name: 'displace-revoke',
    what: 'an older instance goes by revoking its lease, which takes its claims along in the same revision',
    registry: deleteMemberOnly,
  },
  {
    name: 'agent-fence',
    what: 'an agent serves no dial of an incarnation older than the newest it has seen',
    unfencedAgents: true,
  },
];
