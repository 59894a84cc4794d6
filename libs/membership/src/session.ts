import { assert } from './assert.ts';
import type { Incarnation, InstanceNonce, LeaseId, ProxyId, SessionId } from './ids.ts';
import type { LeaseLife } from './lease-life.ts';
import type { Stamp } from './messages.ts';
import type { Pending } from './pending.ts';
import type { SessionEntry } from './cluster-view.ts';
import type { KeyValue } from './store.ts';
import type { Instant } from './time.ts';
import type { SessionIdentity } from './types.ts';

/** A hello that was found well-formed and allowed. */
export interface CheckedHello {
  readonly version: number;
  readonly proxy: ProxyId;
  readonly nonce: InstanceNonce;
  readonly peerAddress: string;
  readonly tunnelAddress: string;
  readonly generation: number;
  readonly software: string;
  /** What the instance has from an earlier session; 0n for nothing. */
  readonly incarnation: bigint;
  readonly newestStamp: Stamp | undefined;
}

/**
 * The seat of a session: its session key in the store, which no other session can hold at the same time. Every write
 * made for the session compares the key's mod revision, so putting the key again voids every write still on its way.
 */
export interface Seat {
  modRevision: bigint;
}

/** From hello to welcome. */
export interface Registering {
  readonly kind: 'registering';
  readonly hello: CheckedHello;
  readonly since: Instant;
  /** An operation is on its way; the next step is taken when it is answered. */
  busy: boolean;
  attempts: number;
  seat: Seat | undefined;
  /** Mod revision the session key is expected to have when the seat is taken. */
  expected: bigint | undefined;
  /** Another live instance has the seat. */
  rival: SessionEntry | undefined;
  /** The member key as last read. */
  member: KeyValue | undefined;
  /** The lease of an older instance's record, when the store said that it knows no such lease. */
  lapsed: LeaseId | undefined;
  /** Rises when the store was restored or the replica lease was lost: answers to what was asked before are void. */
  era: number;
  lease: LeaseLife | undefined;
  /** The grace for a rival to go is running. */
  contested: boolean;
  /** Why the store could not do what was asked last; empty while it could. */
  lastProblem: string;
}

export interface Attached {
  readonly kind: 'attached';
  readonly hello: CheckedHello;
  readonly incarnation: Incarnation;
  /** Of the member key. */
  readonly createRevision: bigint;
  readonly lease: LeaseLife;
  readonly seat: Seat;
  /** False while the seat has to be put again before claims are written; see Seats. */
  seatFirm: boolean;
  seatBusy: boolean;
  seatAttempts: number;
  /** Requests not answered yet, by kind and number. */
  readonly pending: Map<string, Pending>;
  /** A heartbeat whose answer waits for its keepalive. */
  heartbeat: { readonly sequence: bigint; readonly receivedAt: Instant } | undefined;
}

export type SessionState =
  | { readonly kind: 'opened' }
  | Registering
  | Attached
  | { readonly kind: 'leaving'; readonly attached: Attached }
  | { readonly kind: 'closed' };

const LEGAL: Readonly<Record<SessionState['kind'], readonly SessionState['kind'][]>> = {
  opened: ['registering', 'closed'],
  registering: ['attached', 'closed'],
  attached: ['leaving', 'closed'],
  leaving: ['closed'],
  closed: [],
};

/** One stream of one root proxy. */
export class Session {
  readonly id: SessionId;
  readonly identity: SessionIdentity;
  readonly address: string;
  readonly since: string;
  /** The other end reads what is sent. */
  flowing = true;
  /** What the other end has of the view: a delta may follow a current one only. */
  feed: 'none' | 'stale' | 'current' = 'none';
  #state: SessionState = { kind: 'opened' };

  constructor(id: SessionId, identity: SessionIdentity, address: string, since: string) {
    this.id = id;
    this.identity = identity;
    this.address = address;
    this.since = since;
  }

  get state(): SessionState {
    return this.#state;
  }

  /** The only way from one state to another. */
  move(next: SessionState): void {
    assert(LEGAL[this.#state.kind].includes(next.kind), `a session went from ${this.#state.kind} to ${next.kind}`);
    this.#state = next;
  }

  get hello(): CheckedHello | undefined {
    if (this.#state.kind === 'registering' || this.#state.kind === 'attached') return this.#state.hello;
    return this.#state.kind === 'leaving' ? this.#state.attached.hello : undefined;
  }

  get attached(): Attached | undefined {
    return this.#state.kind === 'attached' ? this.#state : undefined;
  }

  /** What the session has or had as a member; undefined before the welcome and after the end. */
  get membership(): Attached | undefined {
    return this.#state.kind === 'leaving' ? this.#state.attached : this.attached;
  }

  get seat(): Seat | undefined {
    if (this.#state.kind === 'registering' || this.#state.kind === 'attached') return this.#state.seat;
    return this.#state.kind === 'leaving' ? this.#state.attached.seat : undefined;
  }
}
