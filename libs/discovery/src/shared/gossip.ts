import type { Incarnation, ProxyId } from './ids.ts';

/** Total order of membership snapshots: by epoch, then revision. */
export interface Stamp {
  /** Rises when the store was restored from an older backup. */
  readonly epoch: bigint;
  /** etcd revision as of which the snapshot is exact. */
  readonly revision: bigint;
}

export type ProxyState = 'ready' | 'draining';

/** What gossip says of one root proxy. */
export interface ProxyRecord {
  readonly id: ProxyId;
  readonly incarnation: Incarnation;
  readonly state: ProxyState;
  /** Proxy group generation (blue/green). */
  readonly generation: number;
}

/**
 * What a registry signed about the member list as of a stamp. Opaque to the cores, which only pass it on: `AdmitGossip` says
 * what it is worth. Absent where nobody signs.
 */
export type Statement = string;

/** The exact membership as of `stamp`. */
export interface Snapshot {
  readonly kind: 'snapshot';
  readonly stamp: Stamp;
  readonly proxies: readonly ProxyRecord[];
  readonly statement?: Statement;
}

/** Leads from exactly `from` to exactly `to`; a receiver that is not at `from` has a gap and asks for a snapshot. */
export interface Delta {
  readonly kind: 'delta';
  readonly from: Stamp;
  readonly to: Stamp;
  readonly changed: readonly ProxyRecord[];
  readonly removed: readonly ProxyId[];
  /** As of `to`. */
  readonly statement?: Statement;
}

/**
 * What a registry signed about an instant of the store: shown to those who know of nothing so late, it proves that the store
 * was restored from an older backup.
 */
export interface Evidence {
  readonly stamp: Stamp;
  readonly statement: Statement;
}

/** A discovery request: gossip from a root proxy to an agent. May be lost, repeated, delayed, reordered. */
export type GossipMessage = Snapshot | Delta;
