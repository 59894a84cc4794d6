/** The session protocol of xylem.registry.v1 as the core sees it: same fields, `type` in place of the oneof. Nothing here is validated yet. */
export type SessionRequest =
  | ({ readonly type: 'hello' } & Hello)
  | { readonly type: 'heartbeat'; readonly sequence: bigint }
  | ({ readonly type: 'acquire' } & AcquireRequest)
  | ({ readonly type: 'release' } & ReleaseRequest)
  | { readonly type: 'drain' }
  | { readonly type: 'leave' }
  /** The store was at this stamp: a registry signed it, which the shell has verified. */
  | { readonly type: 'evidence'; readonly stamp: Stamp };

export interface Hello {
  readonly minVersion: number;
  readonly maxVersion: number;
  readonly proxy: string;
  readonly instanceNonce: string;
  readonly peerAddress: string;
  readonly tunnelAddress: string;
  readonly generation: number;
  readonly software: string;
  readonly incarnation: bigint;
  readonly newestStamp: Stamp | undefined;
}

export interface AcquireRequest {
  readonly request: bigint;
  readonly leaf: string;
  readonly slot: number;
  readonly agent: string;
  readonly nonce: string;
}

export interface ReleaseRequest {
  readonly request: bigint;
  readonly leaf: string;
  readonly slot: number;
  readonly token: bigint;
}

export type SessionReply =
  | {
      readonly type: 'welcome';
      readonly version: number;
      readonly registry: string;
      readonly incarnation: bigint;
      readonly lease: bigint;
      readonly leaseTtlMs: number;
      readonly heartbeatIntervalMs: number;
    }
  /** The last message of its session, as are `evicted` and `left`. */
  | { readonly type: 'refused'; readonly code: RefusalCode; readonly detail: string }
  | { readonly type: 'heartbeatAck'; readonly sequence: bigint; readonly leaseValidMs: number }
  | AcquireReply
  | { readonly type: 'released'; readonly request: bigint; readonly code: 'done' | 'unavailable' }
  | ({ readonly type: 'view' } & View)
  | ({ readonly type: 'viewDelta' } & ViewDelta)
  | { readonly type: 'evicted'; readonly detail: string }
  | { readonly type: 'drainResult'; readonly recorded: boolean }
  | { readonly type: 'left' };

export type RefusalCode = 'version' | 'duplicate-id' | 'invalid' | 'denied' | 'store-unavailable' | 'shutdown';

export interface AcquireReply {
  readonly type: 'acquired';
  readonly request: bigint;
  readonly code: 'granted' | 'held' | 'stale-incarnation' | 'unavailable';
  /** 0n unless granted. */
  readonly token: bigint;
  /** Set when held. */
  readonly holder: ViewClaim | undefined;
  readonly detail: string;
}

/** Total order of views: by epoch, then revision. */
export interface Stamp {
  readonly epoch: bigint;
  readonly revision: bigint;
}

export interface ViewMember {
  readonly proxy: string;
  readonly incarnation: bigint;
  readonly draining: boolean;
  readonly generation: number;
  readonly peerAddress: string;
  readonly tunnelAddress: string;
  readonly instanceNonce: string;
  readonly software: string;
  readonly lease: bigint;
}

export interface ViewClaim {
  readonly leaf: string;
  readonly proxy: string;
  readonly slot: number;
  readonly agent: string;
  readonly nonce: string;
  readonly incarnation: bigint;
  readonly token: bigint;
}

export interface ViewClaimKey {
  readonly leaf: string;
  readonly proxy: string;
  readonly slot: number;
}

/** The exact membership and claims as of `stamp`, sorted by key. */
export interface View {
  readonly stamp: Stamp;
  readonly members: readonly ViewMember[];
  readonly claims: readonly ViewClaim[];
}

/** Leads from exactly `from` to exactly `to`. Sorted by key. */
export interface ViewDelta {
  readonly from: Stamp;
  readonly to: Stamp;
  readonly members: readonly ViewMember[];
  readonly removedMembers: readonly string[];
  readonly claims: readonly ViewClaim[];
  readonly removedClaims: readonly ViewClaimKey[];
}
