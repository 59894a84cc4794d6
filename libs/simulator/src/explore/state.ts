import type { Admission, Incarnation, RootEvent, TunnelId } from '@xylem/discovery';
import type { SessionId, StoreOperation, StoreOutcome } from '@xylem/membership';
import type { Batch, StoreNode } from './store-graph.ts';

/**
 * expiry: the member's lease lapses; pause: the first instance is stopped, and finds everything when it goes on; crash: an instance
 * dies; cut: a registry session breaks; lag: the store's watch tells nothing until it goes on; unknown: the registry never hears the outcome of a store operation, which may
 * have been applied, may be applied at any later time, or never.
 */
export type FaultKind = 'expiry' | 'pause' | 'crash' | 'cut' | 'lag' | 'unknown';

export interface Bounds {
  /** Faults in one run, at most, and of each kind. */
  readonly faults: number;
  readonly perKind: Readonly<Record<FaultKind, number>>;
  /** Tunnels that agents open, registry sessions that are opened again. */
  readonly attaches: number;
  readonly reopens: number;
  /** Store requests and answers under way at once. */
  readonly inFlight: number;
}

export const DEFAULT_BOUNDS: Bounds = {
  faults: 3,
  perKind: { expiry: 1, pause: 1, crash: 1, cut: 1, lag: 1, unknown: 1 },
  attaches: 2,
  reopens: 1,
  inFlight: 3,
};

export const NO_FAULTS: Readonly<Record<FaultKind, number>> = {
  expiry: 0,
  pause: 0,
  crash: 0,
  cut: 0,
  lag: 0,
  unknown: 0,
};

/** For runs of chance. */
export const WALK_BOUNDS: Bounds = { ...DEFAULT_BOUNDS, faults: 6, attaches: 4 };

export const AGENTS = ['a1', 'a2'] as const;
export type Agent = 0 | 1;
export type InstanceIndex = 0 | 1;

/** One instance of the root proxy: the first, and the one that is started under the same name. */
export interface Instance {
  readonly phase: 'unborn' | 'running' | 'paused' | 'dead';
  /** State of its claim core. */
  readonly core: number;
  readonly session: SessionId | undefined;
  /** What a paused process finds when it goes on. */
  readonly inbox: readonly RootEvent[];
}

export interface Tunnel {
  readonly id: TunnelId;
  readonly agent: Agent;
  readonly instance: InstanceIndex;
  /** What the agent's fence knows it by. */
  readonly admission: Admission;
}

/** A store operation that was asked for and is not over. */
export interface Operation {
  readonly number: number;
  readonly request: StoreOperation;
  /** Set once the store has executed it: its answer is under way. */
  readonly outcome: StoreOutcome | undefined;
  /** Nobody waits for it any more; the store may still execute it. */
  readonly abandoned: boolean;
}

/** The whole world at one moment. Never changes. */
export interface State {
  readonly store: StoreNode;
  readonly registry: number;
  readonly instances: readonly [Instance, Instance];
  readonly operations: readonly Operation[];
  /** The watch tells nothing for the time being. */
  readonly lagging: boolean;
  /** What the registry's watch has not told yet. */
  readonly watch: readonly Batch[];
  readonly tunnels: readonly Tunnel[];
  /** State of each agent's fence. */
  readonly fences: readonly [number, number];
  /** Newest incarnation that each agent has seen. */
  readonly seen: readonly [Incarnation, Incarnation];
  /** Releases that were asked for, by the instance's number of the request. */
  readonly releasing: readonly { readonly instance: InstanceIndex; readonly request: number; readonly token: bigint }[];
  /** Nonces of claims whose release was confirmed. */
  readonly released: readonly string[];
  readonly used: Readonly<Record<FaultKind, number>>;
  readonly attached: number;
  readonly opened: number;
}

export interface Broken {
  readonly promise: string;
  readonly detail: string;
}
