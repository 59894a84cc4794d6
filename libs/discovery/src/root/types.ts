import type { GossipMessage, Snapshot, Stamp } from '../shared/gossip.ts';
import type { AgentId, FencingToken, Incarnation, InstanceNonce, LeafId, ProxyId, TunnelId } from '../shared/ids.ts';
import type { ClaimKey, MemberClaim } from './registry-types.ts';

/** Everything a root proxy's claim slots and gossip can be told. */
export type RootEvent =
  /** An agent's hello was accepted by version and identity; the tunnel now asks for its claim. */
  | {
      readonly type: 'attachRequested';
      readonly tunnel: TunnelId;
      readonly leaf: LeafId;
      readonly agent: AgentId;
      readonly nonce: InstanceNonce;
      /** The tunnel of the same instance whose claim this one takes over. */
      readonly replaces: TunnelId | undefined;
      /** The proxy that relays this tunnel's bytes, where the shell knows one: a relayed tunnel replaces no live one. */
      readonly via?: ProxyId | undefined;
    }
  | { readonly type: 'standbyRequested'; readonly tunnel: TunnelId }
  | { readonly type: 'snapshotRequested'; readonly tunnel: TunnelId }
  /** The agent answered the challenge that `challengeTunnel` asked for. */
  | { readonly type: 'challengeAnswered'; readonly tunnel: TunnelId }
  /** The holder of a claim does not serve it (ServingCheck): the claim is revoked, and others come first for a while. */
  | { readonly type: 'claimUnserved'; readonly tunnel: TunnelId; readonly detail: string }
  /** The agent leaves in order: no new dials to it; its slot passes on at once, its open connections finish. */
  | { readonly type: 'agentDraining'; readonly tunnel: TunnelId }
  /** The tunnel is over, for whatever reason; its last event. Frees its slot in the same turn. */
  | { readonly type: 'tunnelClosed'; readonly tunnel: TunnelId }
  /** A registry session is up: this is our incarnation now. A changed incarnation voids every token. */
  | { readonly type: 'registryConnected'; readonly incarnation: Incarnation }
  | { readonly type: 'registryLost' }
  | { readonly type: 'claimRecorded'; readonly request: number; readonly token: FencingToken }
  /** The record exists for somebody else, or our incarnation is stale. */
  | {
      readonly type: 'claimRefused';
      readonly request: number;
      readonly cause: 'held' | 'stale-incarnation';
      /** With `held`: what the record says, where the registry told. */
      readonly holder?: ClaimRecord | undefined;
    }
  /** Nobody knows whether it was written: asked again. */
  | { readonly type: 'claimUnknown'; readonly request: number }
  | { readonly type: 'claimReleased'; readonly request: number }
  | { readonly type: 'releaseUnknown'; readonly request: number }
  /**
   * What the registry's view says of claims as of `stamp`, in the order in which it came. A record of ours that no slot
   * wants (a write that was applied long after it was given up) is released; one that is missing is written again.
   */
  | {
      readonly type: 'claimsObserved';
      readonly stamp: Stamp;
      readonly claims: readonly MemberClaim[];
      readonly removed: readonly ClaimKey[];
      /** These are all claims there are; otherwise only what changed. */
      readonly complete: boolean;
    }
  /** The registry's newest exact membership. */
  | { readonly type: 'membershipChanged'; readonly snapshot: Snapshot }
  /** This proxy is about to stop: announce first, close later. */
  | { readonly type: 'drainRequested'; readonly spreadMs: number; readonly deadlineMs: number }
  | { readonly type: 'timeout' };

/** A claim as etcd has it. */
export interface ClaimRecord {
  readonly agent: AgentId;
  readonly nonce: string;
  readonly incarnation: Incarnation;
  readonly token: FencingToken;
}

export type RootEffect =
  | { readonly type: 'grantClaim'; readonly tunnel: TunnelId; readonly slot: number }
  /** The grant has its token; dials on this tunnel carry it from now on. */
  | {
      readonly type: 'confirmClaim';
      readonly tunnel: TunnelId;
      readonly slot: number;
      readonly token: FencingToken;
      readonly incarnation: Incarnation;
    }
  | { readonly type: 'reportHeld'; readonly tunnel: TunnelId; readonly holder: AgentId }
  | { readonly type: 'sendGossip'; readonly tunnel: TunnelId; readonly message: GossipMessage }
  /** Ping this (older) tunnel now: is its instance still there? Answer with `challengeAnswered` or `tunnelClosed`. */
  | { readonly type: 'challengeTunnel'; readonly tunnel: TunnelId }
  /** Send Refused or GOODBYE with the reason, then close. */
  | {
      readonly type: 'closeTunnel';
      readonly tunnel: TunnelId;
      readonly reason: RootCloseReason;
      /** One line for a person, naming both parties where there are two. */
      readonly detail: string;
    }
  | {
      readonly type: 'announceDrain';
      readonly tunnel: TunnelId;
      readonly spreadMs: number;
      readonly deadlineMs: number;
    }
  /** Write the claim. `nonce` is unique to this grant. Answered by claimRecorded, claimRefused or claimUnknown. */
  | {
      readonly type: 'recordClaim';
      readonly request: number;
      readonly leaf: LeafId;
      readonly slot: number;
      readonly agent: AgentId;
      readonly nonce: string;
    }
  | {
      readonly type: 'releaseClaim';
      readonly request: number;
      readonly leaf: LeafId;
      readonly slot: number;
      readonly token: FencingToken;
    }
  /** Mark the member record draining. Comes before the first `announceDrain`. */
  | { readonly type: 'deregister' }
  /** Every tunnel has gone, or the deadline came: the process may leave the registry and end. */
  | { readonly type: 'drained' };

export type RootCloseReason =
  | 'duplicate-id'
  | 'replaced'
  | 'drain-deadline'
  /** This proxy is about to stop and takes no new tunnels. */
  | 'draining'
  | 'standby-unwanted'
  | 'stale-incarnation'
  /** The record of a later incarnation, or of one that was not told, holds this slot: the provisional claim lost its race. */
  | 'claim-lost'
  /** The agent held a claim here and did not serve it. */
  | 'unserved'
  | 'overloaded';

/** All times in milliseconds. */
export interface RootConfig {
  readonly proxy: ProxyId;
  readonly claimsPerProxy: number;
  /** Gossip is repeated to every tunnel at this interval, jittered, even when nothing changed. Default 15_000. */
  readonly gossipIntervalMs: number;
  /** How long a challenged tunnel may take to answer. Default 1_000. */
  readonly challengeTimeoutMs: number;
  /** A claim or release of unknown outcome is asked for again after this, doubling up to 16 times it. Default 250. */
  readonly recordRetryMs: number;
  /** Standby tunnels kept per leaf cluster. Default 16. */
  readonly maxStandbysPerLeaf: number;
  /** How long a replaced tunnel may finish its connections before it is closed. Default 3_600_000. */
  readonly lingerMs?: number;
}

export interface RootTunnelStatus {
  readonly tunnel: TunnelId;
  readonly leaf: LeafId;
  readonly agent: AgentId;
  readonly state: 'claimed' | 'provisional' | 'standby' | 'undecided' | 'draining';
  readonly slot: number | undefined;
  readonly token: FencingToken;
}

/** What is held against an agent at this root proxy. */
export interface ServingRecord {
  /** Milliseconds until it may hold a claim again; 0 when it may. */
  readonly heldMs: number;
  /** It did not serve a claim lately. */
  readonly suspect: boolean;
}

export interface RootStatus {
  readonly incarnation: Incarnation;
  readonly registryConnected: boolean;
  readonly draining: boolean;
  readonly stamp: Stamp | undefined;
  readonly tunnels: readonly RootTunnelStatus[];
  /** Records in etcd that still differ from the slots in memory. */
  readonly unrecorded: number;
}
