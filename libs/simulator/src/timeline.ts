/** What a picture of one run is drawn from: plain data, times in milliseconds from the start of the run. */

/** A state that lasted. */
export interface Bar<State extends string> {
  readonly state: State;
  readonly from: number;
  readonly to: number;
  /** For a person: why, or what is special about it; may be empty. */
  readonly note: string;
}

/** What an agent's pool says of one root proxy; `provisional` is a claim that is held and not recorded yet. */
export type EntryState =
  | 'seeking'
  | 'claimed'
  | 'provisional'
  | 'backoff'
  | 'sibling'
  | 'standby'
  | 'draining'
  | 'gone';

export type LifeState = 'up' | 'paused' | 'draining';

export type StoreState = 'down' | 'unknown-outcomes' | 'lying-keepalives' | 'late-watches';

/** One connection to the balancer. */
export interface DialMark {
  readonly from: number;
  readonly to: number;
  /** The root proxy it named; undefined for an attempt that takes whom the balancer gives. */
  readonly target: string | undefined;
  readonly replaces: boolean;
  /** The root proxy it reached; undefined when it failed. */
  readonly reached: string | undefined;
  readonly via: string | undefined;
  /** How it ended: `reached`, `wasted` when it met a root proxy that the agent had a tunnel to, `cancelled`, `unfinished`, or why it failed. */
  readonly outcome: string;
}

/** A discovery request that an agent received. */
export interface GossipMark {
  readonly at: number;
  readonly from: string;
  /** Whether the agent knew more, or something else, after it. */
  readonly changed: boolean;
  readonly text: string;
}

export interface AgentLane {
  readonly name: string;
  readonly leaf: string;
  readonly life: readonly Bar<LifeState>[];
  /** By root proxy, in order of name. */
  readonly entries: readonly { readonly proxy: string; readonly bars: readonly Bar<EntryState>[] }[];
  readonly dials: readonly DialMark[];
  readonly gossip: readonly GossipMark[];
}

export interface ProcessLane {
  readonly name: string;
  readonly life: readonly Bar<LifeState>[];
  /** When it had a session with a registry; none for a registry itself. */
  readonly registered: readonly Bar<'registered'>[];
}

/** Something that went wrong on purpose. */
export interface FaultMark {
  readonly kind: string;
  readonly from: number;
  /** Equal to `from` for what happens at once. */
  readonly to: number;
  /** Whom it struck, as far as it struck anybody. */
  readonly detail: string;
}

export interface Mark {
  readonly at: number;
  readonly label: string;
}

/** A part of the run with a name, e.g. the faults or the quiet minute. */
export interface Stretch {
  readonly label: string;
  readonly from: number;
  readonly to: number;
}

export interface Timeline {
  readonly endMs: number;
  readonly agents: readonly AgentLane[];
  readonly proxies: readonly ProcessLane[];
  readonly registries: readonly ProcessLane[];
  readonly store: readonly Bar<StoreState>[];
  readonly storeEvents: readonly Mark[];
  readonly faults: readonly FaultMark[];
  readonly stretches: readonly Stretch[];
  readonly violations: readonly { readonly at: number; readonly promise: string; readonly detail: string }[];
}
