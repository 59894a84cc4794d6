import type { LeaseId, ProxyId, SessionId } from './ids.ts';
import type { SessionReply, SessionRequest, Stamp } from './messages.ts';
import type { StoreEvent, StoreOperation, StoreOutcome } from './store.ts';
import type { Instant } from './time.ts';

/** Who the other end of a session is, from its verified certificate. */
export type SessionIdentity =
  | { readonly kind: 'proxy'; readonly proxy: string }
  /** The detail says what the certificate is for instead. */
  | { readonly kind: 'denied'; readonly detail: string };

/** Everything a registry replica can be told. The shell maps each fact to exactly one event. */
export type RegistryEvent =
  | {
      readonly type: 'sessionOpened';
      readonly session: SessionId;
      readonly identity: SessionIdentity;
      /** host:port of the other end. */
      readonly address: string;
      /** Now on the wall clock, for people. */
      readonly since: string;
    }
  | { readonly type: 'messageReceived'; readonly session: SessionId; readonly message: SessionRequest }
  /** What was sent is not being read: nothing more than answers until `sessionFlowing`. */
  | { readonly type: 'sessionStalled'; readonly session: SessionId }
  | { readonly type: 'sessionFlowing'; readonly session: SessionId }
  /** The stream is over, whoever ended it; the last event of a session. */
  | { readonly type: 'sessionClosed'; readonly session: SessionId }
  /** The outcome of a `request`; exactly one each. */
  | { readonly type: 'storeReplied'; readonly operation: number; readonly outcome: StoreOutcome }
  /** The store acknowledged a keepalive. `ttlMs` 0: it knows no such lease. */
  | { readonly type: 'leaseKeptAlive'; readonly lease: LeaseId; readonly sentAt: Instant; readonly ttlMs: number }
  | { readonly type: 'watchOpened'; readonly watch: number }
  /** All events of the revisions up to `revision` that were not told yet; whole revisions only. No events: progress. */
  | {
      readonly type: 'watchAdvanced';
      readonly watch: number;
      readonly revision: bigint;
      readonly events: readonly StoreEvent[];
    }
  /** Revisions this watch still needed are gone. Ends the watch. */
  | { readonly type: 'watchCompacted'; readonly watch: number }
  /** Ends the watch. */
  | { readonly type: 'watchLost'; readonly watch: number; readonly detail: string }
  /** What was signed about the members has to be signed again: every session that is up to date gets a delta without changes. */
  | { readonly type: 'attestationDue' }
  /** The process is about to end: sessions move elsewhere. */
  | { readonly type: 'shutdownRequested' }
  | { readonly type: 'timeout' };

/** What the shell must do, in the order polled. */
export type RegistryEffect =
  | { readonly type: 'send'; readonly session: SessionId; readonly message: SessionReply }
  /** End the stream after what was sent. Answered by `sessionClosed`. */
  | {
      readonly type: 'closeSession';
      readonly session: SessionId;
      readonly reason: CloseReason;
      readonly detail: string;
    }
  /** Run the operation once: no retry in the shell. Answered by `storeReplied` within `timeoutMs`. */
  | {
      readonly type: 'request';
      readonly operation: number;
      readonly request: StoreOperation;
      readonly timeoutMs: number;
    }
  /** Send one keepalive. Not every one is answered; the next one is sent when the core finds it due. */
  | { readonly type: 'keepAlive'; readonly lease: LeaseId }
  /** Watch every key of the registry from this revision on. At most one watch is open. */
  | { readonly type: 'openWatch'; readonly watch: number; readonly fromRevision: bigint }
  /** No events of this watch any more. */
  | { readonly type: 'closeWatch'; readonly watch: number }
  | { readonly type: 'report'; readonly report: RegistryReport }
  /** Nothing is left to do: the process may end. */
  | { readonly type: 'stopped' };

export type CloseReason =
  /** A refusal, an eviction or `left` was sent; that says why. */
  | 'answered'
  /** The same instance has a newer session, here or at another replica. */
  | 'superseded'
  /** No message for longer than the deadline. */
  | 'silent'
  /** The store did not do what the session waited for. */
  | 'store-unavailable'
  /** The other end closed first. */
  | 'closed';

/** Facts for logs and the audit trail. */
export type RegistryReport =
  | {
      readonly type: 'registered';
      readonly proxy: ProxyId;
      readonly incarnation: bigint;
      readonly resumed: boolean;
      readonly tookMs: number;
    }
  | { readonly type: 'sessionEnded'; readonly proxy: string; readonly reason: CloseReason; readonly detail: string }
  | {
      readonly type: 'refused';
      readonly proxy: string;
      readonly address: string;
      readonly code: string;
      readonly detail: string;
    }
  | { readonly type: 'evicted'; readonly proxy: ProxyId; readonly incarnation: bigint; readonly detail: string }
  | { readonly type: 'left'; readonly proxy: ProxyId; readonly incarnation: bigint }
  | { readonly type: 'drained'; readonly proxy: ProxyId; readonly incarnation: bigint }
  | {
      readonly type: 'claimed';
      readonly leaf: string;
      readonly proxy: ProxyId;
      readonly slot: number;
      readonly agent: string;
      readonly token: bigint;
    }
  | {
      readonly type: 'released';
      readonly leaf: string;
      readonly proxy: ProxyId;
      readonly slot: number;
      readonly token: bigint;
    }
  | { readonly type: 'replicaLeaseLost' }
  | { readonly type: 'storeAnswers'; readonly stamp: Stamp }
  | { readonly type: 'storeFailing'; readonly detail: string }
  /** The store's history is not the one seen before: it was restored from a backup. */
  | { readonly type: 'storeRestored'; readonly detail: string; readonly epoch: bigint }
  | { readonly type: 'relisted'; readonly why: string }
  | { readonly type: 'malformedRecord'; readonly key: string };

/** All times in milliseconds. */
export interface RegistryConfig {
  /** Name of this replica. */
  readonly registry: string;
  /** Random, made at process start. */
  readonly boot: string;
  /** What a person calls the store, e.g. its endpoints; appears in refusals. */
  readonly storeName: string;
  /** TTL of every lease. Default 10_000: a lost host's claims lapse within it (S4). The store may raise it. */
  readonly leaseTtlMs: number;
  /** How much earlier than the store we take a lease for lapsed. Default 500. */
  readonly leaseMarginMs: number;
  /** Stated in the welcome. Default 2_500. */
  readonly heartbeatIntervalMs: number;
  /** A session without any message for this long is closed. Default 7_500: three heartbeats. */
  readonly sessionTimeoutMs: number;
  /** From hello to welcome. Default 5_000. */
  readonly registerTimeoutMs: number;
  /** How long another live instance with the same id may take to go before the newcomer is refused. Default 1_000. */
  readonly duplicateGraceMs: number;
  /** Deadline of one store operation. Default 2_000. */
  readonly operationTimeoutMs: number;
  /** How long an acquire, release, drain or leave is tried. Default 4_000. */
  readonly requestTimeoutMs: number;
  /** How long a heartbeat's answer waits for the keepalive it caused. Default 500. */
  readonly keepAliveWaitMs: number;
  /** First and greatest pause before a failed store operation is tried again; doubling. Defaults 50, 1_000. */
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
  /** Sessions in all. Default 1_000. */
  readonly maxSessions: number;
  /** Acquires and releases of one session that wait for the store. Default 2_048. */
  readonly maxPendingPerSession: number;
  /** Store operations in flight. Default 256; more wait in line. */
  readonly maxOperations: number;
  /** Claim records of one leaf cluster over all proxies. Default 4_096. */
  readonly maxClaimsPerLeaf: number;
  /** Claim records in all. Default 100_000: a full view of them stays below 16 MiB. */
  readonly maxClaims: number;
  /** Keys per page of a list. Default 1_000. */
  readonly listPageSize: number;
}

export const DEFAULT_REGISTRY_CONFIG: Omit<RegistryConfig, 'registry' | 'boot' | 'storeName'> = {
  leaseTtlMs: 10_000,
  leaseMarginMs: 500,
  heartbeatIntervalMs: 2_500,
  sessionTimeoutMs: 7_500,
  registerTimeoutMs: 5_000,
  duplicateGraceMs: 1_000,
  operationTimeoutMs: 2_000,
  requestTimeoutMs: 4_000,
  keepAliveWaitMs: 500,
  retryMinMs: 50,
  retryMaxMs: 1_000,
  maxSessions: 1_000,
  maxPendingPerSession: 2_048,
  maxOperations: 256,
  maxClaimsPerLeaf: 4_096,
  maxClaims: 100_000,
  listPageSize: 1_000,
};

export interface SessionStatus {
  readonly session: SessionId;
  readonly proxy: string;
  readonly address: string;
  readonly state: 'opened' | 'registering' | 'attached' | 'leaving' | 'closed';
  /** 0n until attached. */
  readonly incarnation: bigint;
  readonly leaseValidMs: number;
  readonly pending: number;
}

export interface RegistryStatus {
  /** Views can be given and claims recorded. */
  readonly ready: boolean;
  /** Why not; empty when ready. */
  readonly why: string;
  readonly stamp: Stamp | undefined;
  readonly members: number;
  readonly claims: number;
  readonly watch: 'listing' | 'watching' | 'broken';
  readonly sessions: readonly SessionStatus[];
  readonly operationsInFlight: number;
  readonly operationsWaiting: number;
  readonly counters: Readonly<Record<RegistryCounter, number>>;
}

/** Totals since the start. */
export type RegistryCounter =
  | 'sessions'
  | 'registrations'
  | 'resumes'
  | 'refusals'
  | 'evictions'
  | 'claimsGranted'
  | 'claimsHeld'
  | 'claimsStale'
  | 'claimsUnavailable'
  | 'releases'
  | 'storeFailures'
  | 'storeUnknowns'
  | 'watchLosses'
  | 'lists'
  | 'restores'
  | 'views'
  | 'viewDeltas';
