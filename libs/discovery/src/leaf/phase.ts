/**
 * The life of a pool entry, as a union of phases and one table of moves.
 *
 *   seeking   wanted, a dial starts as soon as a permit is free
 *   dialling  a dial for it is in flight
 *   backoff   wanted, the next dial is due at `until`
 *   claiming  a tunnel is up, the proxy has not answered the claim
 *   claimed   this agent serves the proxy
 *   standby   another agent of the leaf cluster holds it; our tunnel waits for promotion
 *   sibling   another agent holds it and we keep no tunnel; tried again at `until`
 *   retiring  the proxy announced its drain, our tunnel is still open
 *   retired   it drains; we have nothing open or only a tunnel that is closing
 *   gone      evidence says that it is no member any more; forgotten at `until`
 */
import { assert } from '../shared/assert.ts';
import type { AgentId, DialId, ProxyId, TunnelId } from '../shared/ids.ts';
import type { Instant } from '../shared/time.ts';
import type { PoolEntryStatus } from './types.ts';

export type Phase =
  | { readonly kind: 'seeking' }
  | {
      readonly kind: 'dialling';
      readonly dial: DialId;
      /** Set when a sibling holds the proxy and the dial only looks whether it still does. */
      readonly sibling: AgentId | undefined;
    }
  | {
      readonly kind: 'backoff';
      readonly until: Instant;
      /** The other side asked for this wait: it is not ours to shorten, and the entry is not wanted meanwhile. */
      readonly asked: boolean;
      readonly why: string;
    }
  | {
      readonly kind: 'claiming';
      readonly tunnel: TunnelId;
      readonly until: Instant;
      /** Granted, but by an incarnation that is older than one we know: believed only when proved. */
      readonly granted: number | undefined;
    }
  | { readonly kind: 'claimed'; readonly tunnel: TunnelId; readonly slot: number }
  | { readonly kind: 'standby'; readonly tunnel: TunnelId; readonly holder: AgentId }
  | { readonly kind: 'sibling'; readonly holder: AgentId; readonly until: Instant }
  | {
      readonly kind: 'retiring';
      readonly tunnel: TunnelId;
      /** End of this agent's random part of the spread; undefined when it has passed. */
      readonly actAt: Instant | undefined;
      /** Latest instant to leave by our own will. */
      readonly closeBy: Instant;
      readonly deadline: Instant;
    }
  | { readonly kind: 'retired' }
  | { readonly kind: 'gone'; readonly until: Instant };

export type PhaseKind = Phase['kind'];

const UNCONNECTED_ENDS = ['claiming', 'retired', 'gone'] as const;

/** Every move that can happen. Anything else is our bug. */
const MOVES: Readonly<Record<PhaseKind, readonly PhaseKind[]>> = {
  seeking: ['dialling', 'backoff', ...UNCONNECTED_ENDS],
  dialling: ['seeking', 'backoff', 'sibling', ...UNCONNECTED_ENDS],
  backoff: ['seeking', 'backoff', ...UNCONNECTED_ENDS],
  claiming: ['claiming', 'claimed', 'standby', 'sibling', 'backoff', 'retiring', 'retired', 'gone'],
  claimed: ['claiming', 'claimed', 'standby', 'sibling', 'backoff', 'retiring', 'retired', 'gone'],
  standby: ['claiming', 'claimed', 'standby', 'sibling', 'backoff', 'retiring', 'retired', 'gone'],
  sibling: ['seeking', 'dialling', 'sibling', ...UNCONNECTED_ENDS],
  retiring: ['claiming', 'retiring', 'retired', 'backoff', 'gone'],
  retired: ['seeking', 'backoff', ...UNCONNECTED_ENDS],
  gone: ['seeking', 'claiming', 'retired', 'gone'],
};

export function assertMove(proxy: ProxyId, from: PhaseKind, to: PhaseKind): void {
  assert(MOVES[from].includes(to), `pool entry ${proxy} cannot go from ${from} to ${to}`);
}

/** Whether a dial would be for an entry in this phase. */
export function isWanted(phase: Phase): boolean {
  if (phase.kind === 'backoff') return !phase.asked;
  return phase.kind === 'seeking' || (phase.kind === 'dialling' && phase.sibling === undefined);
}

/** The tunnel that carries the phase, if it has one. */
export function tunnelOf(phase: Phase): TunnelId | undefined {
  return 'tunnel' in phase ? phase.tunnel : undefined;
}

/** Whether the entry's tunnel is one to live on: gossip flows and nobody has announced its end. */
export function isConnected(phase: Phase): boolean {
  return (
    phase.kind === 'claimed' || phase.kind === 'standby' || (phase.kind === 'claiming' && phase.granted === undefined)
  );
}

/** The deadline of the phase itself. */
export function phaseDeadline(phase: Phase): Instant | undefined {
  switch (phase.kind) {
    case 'backoff':
    case 'claiming':
    case 'sibling':
    case 'gone':
      return phase.until;
    case 'retiring':
      return phase.actAt ?? phase.closeBy;
    case 'seeking':
    case 'dialling':
    case 'claimed':
    case 'standby':
    case 'retired':
      return undefined;
  }
}

/** How a phase is shown: the names of PoolEntryStatus, and why it is not claimed. */
export function describePhase(phase: Phase): Pick<PoolEntryStatus, 'state' | 'why'> {
  switch (phase.kind) {
    case 'seeking':
      return { state: 'seeking', why: 'waits for a permit or a connection' };
    case 'dialling':
      return { state: 'seeking', why: 'a dial is in flight' };
    case 'claiming':
      return phase.granted === undefined
        ? { state: 'seeking', why: 'connected, the claim is not answered yet' }
        : { state: 'seeking', why: 'the proxy answered with an old incarnation' };
    case 'backoff':
      return { state: 'backoff', why: phase.why };
    case 'claimed':
      return { state: 'claimed', why: '' };
    case 'standby':
      return { state: 'standby', why: `held by agent ${phase.holder}, this one stands by` };
    case 'sibling':
      return { state: 'sibling', why: `held by agent ${phase.holder}` };
    case 'retiring':
      return { state: 'draining', why: 'the proxy drains; still attached' };
    case 'retired':
      return { state: 'draining', why: 'the proxy drains' };
    case 'gone':
      return { state: 'gone', why: 'no longer a member' };
  }
}
