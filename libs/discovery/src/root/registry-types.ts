/** Events and effects of RegistryLink: one for one the messages of proto/xylem/registry/v1, as core types. */
import type { Evidence, ProxyRecord, Snapshot, Stamp, Statement } from '../shared/gossip.ts';
import type { AgentId, FencingToken, Incarnation, InstanceNonce, LeafId, ProxyId } from '../shared/ids.ts';
import type { Instant } from '../shared/time.ts';

/** A root proxy as the registry knows it. */
export interface Member {
  readonly record: ProxyRecord;
  /** host:port of its peer service. */
  readonly peerAddress: string;
  /** host:port that steered tunnels are relayed to. */
  readonly tunnelAddress: string;
  readonly instanceNonce: InstanceNonce;
  readonly software: string;
}

export interface ClaimKey {
  readonly leaf: LeafId;
  readonly proxy: ProxyId;
  readonly slot: number;
}

export interface MemberClaim extends ClaimKey {
  readonly agent: AgentId;
  /** Of the grant that it records. */
  readonly nonce: string;
  readonly incarnation: Incarnation;
  readonly token: FencingToken;
}

/** The exact membership and claims as of `stamp`. */
export interface View {
  readonly stamp: Stamp;
  readonly members: readonly Member[];
  readonly claims: readonly MemberClaim[];
  /** Of the members as of `stamp`; absent where the registry signs nothing. */
  readonly statement?: Statement;
}

export interface ViewDelta {
  readonly from: Stamp;
  readonly to: Stamp;
  readonly members: readonly Member[];
  readonly removedMembers: readonly ProxyId[];
  readonly claims: readonly MemberClaim[];
  readonly removedClaims: readonly ClaimKey[];
  /** Of the members as of `to`; absent when they are as before and what was signed about them stays good. */
  readonly statement?: Statement;
}

export type RegistryRefusal = 'version' | 'duplicate-id' | 'invalid' | 'denied' | 'store-unavailable' | 'shutdown';

/** Events of a session carry its number; those of a session that is over are ignored. */
export type RegistryEvent =
  | {
      readonly type: 'welcomed';
      readonly session: number;
      readonly registry: string;
      readonly incarnation: Incarnation;
      readonly lease: bigint;
      readonly leaseTtlMs: number;
      readonly heartbeatIntervalMs: number;
    }
  | { readonly type: 'refused'; readonly session: number; readonly code: RegistryRefusal; readonly detail: string }
  /** The stream is over, or never came up. */
  | { readonly type: 'sessionEnded'; readonly session: number; readonly detail: string }
  | {
      readonly type: 'heartbeatAcked';
      readonly session: number;
      readonly sequence: bigint;
      readonly leaseValidMs: number;
    }
  | { readonly type: 'evicted'; readonly session: number; readonly detail: string }
  | { readonly type: 'viewReceived'; readonly session: number; readonly view: View }
  | { readonly type: 'viewDeltaReceived'; readonly session: number; readonly delta: ViewDelta }
  | { readonly type: 'drainAnswered'; readonly session: number; readonly recorded: boolean }
  | { readonly type: 'left'; readonly session: number }
  /** An agent showed this, and the shell has verified that a registry signed it. */
  | { readonly type: 'evidenceShown'; readonly evidence: Evidence }
  /** This proxy drains (RootDiscovery's `deregister`): its member record has to say so. */
  | { readonly type: 'drainRequested' }
  /** This proxy is about to end: remove its records. Answered by `reportLeft` within `deadlineMs`. */
  | { readonly type: 'leaveRequested'; readonly deadlineMs: number }
  | { readonly type: 'timeout' };

export type RegistryEffect =
  /**
   * Open a Session stream to `registry` and send the hello with these two fields, the proxy's names and addresses.
   * Answered by `welcomed`, `refused` or `sessionEnded`.
   */
  | {
      readonly type: 'openSession';
      readonly session: number;
      readonly registry: string;
      /** What this instance has already; 0n and 0n to register anew. */
      readonly incarnation: Incarnation;
      readonly lease: bigint;
    }
  | { readonly type: 'closeSession'; readonly session: number; readonly detail: string }
  | { readonly type: 'sendHeartbeat'; readonly session: number; readonly sequence: bigint }
  | { readonly type: 'sendDrain'; readonly session: number }
  | { readonly type: 'sendLeave'; readonly session: number }
  /** Pass on what an agent showed, signed as it is. */
  | { readonly type: 'sendEvidence'; readonly session: number; readonly evidence: Evidence }
  /** Claims can be recorded on this session now: tell RootDiscovery `registryConnected`. */
  | { readonly type: 'reportConnected'; readonly session: number; readonly incarnation: Incarnation }
  /** Tell RootDiscovery `registryLost`. */
  | { readonly type: 'reportLost' }
  /** The members changed: tell RootDiscovery `membershipChanged`. */
  | { readonly type: 'reportMembership'; readonly snapshot: Snapshot }
  /**
   * Claims in the registry's records changed, anybody's: tell RootDiscovery `claimsObserved`, which keeps to its own.
   * `complete`: these are all there are; otherwise only what changed.
   */
  | {
      readonly type: 'reportClaims';
      readonly stamp: Stamp;
      readonly claims: readonly MemberClaim[];
      readonly removed: readonly ClaimKey[];
      readonly complete: boolean;
    }
  /** Our records are gone, or the deadline for that passed. The last effect. */
  | { readonly type: 'reportLeft'; readonly clean: boolean };

/** All times in milliseconds. */
export interface RegistryLinkConfig {
  /** Addresses of registry replicas, tried in turn. */
  readonly registries: readonly string[];
  /** Backoff with full jitter, the ceiling doubling with each round through the list. Defaults 100, 5_000. */
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** From opening a session to its welcome. Default 5_000. */
  readonly welcomeTimeoutMs: number;
  /** The lease counts as over this long before it is, for clocks that drift and messages under way. Default 500. */
  readonly leaseMarginMs: number;
}

export interface RegistryLinkStatus {
  /**
   * `connected`: a session is up. `reconnecting`: none, but the lease is valid. `suspect`: others may take this proxy
   * for dead; tunnels go on. `leaving`, `left`: on the way out.
   */
  readonly state: 'connected' | 'reconnecting' | 'suspect' | 'leaving' | 'left';
  readonly registry: string | undefined;
  readonly incarnation: Incarnation;
  /** Until when the lease may be believed without another word from a registry; undefined when there is none. */
  readonly leaseValidUntil: Instant | undefined;
  /** What a person has to mend, e.g. a second instance with this proxy's id; undefined when nothing. */
  readonly problem: string | undefined;
  /** Of the newest view. */
  readonly stamp: Stamp | undefined;
  /** Whether the member record says draining, once that was asked for. */
  readonly drainRecorded: boolean;
}
