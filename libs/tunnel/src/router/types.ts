import type { DialOutcome, ResetReason } from '../codes.ts';

/** A node as an agent offers it: a name and the ports that may be dialled. */
export interface OfferedNode {
  readonly name: string;
  readonly ports: readonly number[];
}

/** Another root proxy that holds a recorded claim of a leaf cluster, from the registry's view. */
export interface PeerHolder {
  readonly proxy: string;
  /** False while that proxy drains: used only when no ready one is left. */
  readonly ready: boolean;
}

/**
 * Everything a root proxy's router can be told. Strings are ids: `tunnel` and `connection` are names this process made,
 * `leaf`, `node` and `proxy` are DNS labels that were checked where they entered.
 */
export type RouterEvent =
  /** An agent's hello was accepted. The tunnel takes no dials before `tunnelClaimed`. */
  | {
      readonly type: 'tunnelAttached';
      readonly tunnel: string;
      readonly leaf: string;
      readonly agent: string;
      readonly nodes: readonly OfferedNode[];
    }
  /** The tunnel holds a claim: provisional with token 0n, or recorded. Repeated when the token or incarnation changes. */
  | { readonly type: 'tunnelClaimed'; readonly tunnel: string; readonly incarnation: bigint; readonly token: bigint }
  /** The agent or this proxy announced a drain: dialled only when nothing else serves the leaf cluster. */
  | { readonly type: 'tunnelDraining'; readonly tunnel: string }
  /** The tunnel is over; its last event. Pending dials on it are answered `tunnel-lost`. */
  | { readonly type: 'tunnelClosed'; readonly tunnel: string }
  /** The registry's whole view: which other root proxies hold a claim of which leaf cluster. Replaces what was known. */
  | { readonly type: 'holdersViewed'; readonly holders: ReadonlyMap<string, readonly PeerHolder[]> }
  /** The part of the view that concerns one leaf cluster changed; no holders means no claim of it anywhere else. */
  | { readonly type: 'holdersChanged'; readonly leaf: string; readonly holders: readonly PeerHolder[] }
  /** A user, or a peer on a user's behalf, wants a connection. Policy has been asked already. Answered by one `report`. */
  | {
      readonly type: 'dialRequested';
      /** Unique for ever within this process. */
      readonly connection: string;
      readonly leaf: string;
      readonly node: string;
      /** 0: the node's only port. */
      readonly port: number;
      readonly user: string;
      /** Root proxies passed so far: 0 from a user, 1 from a peer. */
      readonly hops: number;
      /** 0: the default of the configuration. */
      readonly timeoutMs: number;
      /** In [0, 1): spreads dials over peers. */
      readonly random: number;
    }
  /** The agent opened Carry for this connection on this tunnel, and its first frame is this outcome. */
  | {
      readonly type: 'dialAnswered';
      readonly tunnel: string;
      readonly connection: string;
      readonly outcome: DialOutcome;
      readonly detail: string;
    }
  /** The peer answered a forwarded dial. */
  | {
      readonly type: 'forwardAnswered';
      readonly connection: string;
      readonly outcome: DialOutcome;
      readonly detail: string;
    }
  /** The stream to the peer failed before an outcome. `sent`: whether `open` may have left this process. */
  | { readonly type: 'forwardFailed'; readonly connection: string; readonly sent: boolean; readonly detail: string }
  /** The requester went away before the report. No report follows. */
  | { readonly type: 'dialAbandoned'; readonly connection: string }
  /** A connection that was reported `connected` is over; frees its place. */
  | { readonly type: 'connectionClosed'; readonly connection: string }
  | { readonly type: 'timeout' };

/** What the shell must do, in the order polled. */
export type RouterEffect =
  /** Send DialRequest on the tunnel's control stream, once; never repeated for the same connection. */
  | {
      readonly type: 'sendDial';
      readonly connection: string;
      readonly tunnel: string;
      readonly leaf: string;
      readonly node: string;
      /** Always a real port: 0 was resolved against what the agent offers. */
      readonly port: number;
      readonly user: string;
      /** The agent's budget: shorter than the requester's, so that the agent's precise answer comes first. */
      readonly timeoutMs: number;
      /** Fence: goes into DialRequest, where the agent compares it with the greatest it has seen. */
      readonly incarnation: bigint;
      readonly token: bigint;
    }
  /** Send DialCancelled: nobody waits for this dial any more. */
  | { readonly type: 'sendCancel'; readonly connection: string; readonly tunnel: string }
  /** Open PeerService.Forward to this proxy with hops 1. May follow an earlier `forward` that was not dialled. */
  | {
      readonly type: 'forward';
      readonly connection: string;
      readonly proxy: string;
      readonly leaf: string;
      readonly node: string;
      readonly port: number;
      readonly user: string;
      readonly timeoutMs: number;
    }
  /** Cancel the stream to the peer. */
  | { readonly type: 'cancelForward'; readonly connection: string }
  /** The answer to one `dialRequested`, exactly once. After `connected` the shell splices; after all else it closes. */
  | {
      readonly type: 'report';
      readonly connection: string;
      readonly outcome: DialOutcome;
      /** One line for a person; empty for `connected`. */
      readonly detail: string;
      /** Which way it went. */
      readonly way: DialWay;
    }
  /** Reset the Carry stream that was just answered: nobody waits for it, or it is not this tunnel's to answer. */
  | {
      readonly type: 'refuseStream';
      readonly connection: string;
      readonly tunnel: string;
      readonly reason: ResetReason;
      readonly detail: string;
    };

export type DialWay =
  | { readonly kind: 'none' }
  | { readonly kind: 'tunnel'; readonly tunnel: string; readonly agent: string }
  | { readonly kind: 'peer'; readonly proxy: string };

/** All times in milliseconds; every count is the greatest allowed. */
export interface RouterConfig {
  /** How long a requester that names no time waits. Default 10_000 (carry.proto). */
  readonly defaultTimeoutMs: number;
  /** The longest a requester may ask for. Default 60_000: a pending dial holds memory at three places. */
  readonly maxTimeoutMs: number;
  /** Pending dials of one leaf cluster. Default 128: a leaf that swallows dials cannot fill the table. */
  readonly maxPendingPerLeaf: number;
  /** Pending dials in all. Default 1_024. */
  readonly maxPending: number;
  /** Open and pending connections on one tunnel. Default 900: below the 1_000 streams of its HTTP/2 connection. */
  readonly maxConnectionsPerTunnel: number;
  /** Leaf clusters remembered so that `leaf-offline` differs from `no-such-leaf`. Default 10_000, oldest forgotten first. */
  readonly maxKnownLeaves: number;
}

export const DEFAULT_ROUTER_CONFIG: RouterConfig = {
  defaultTimeoutMs: 10_000,
  maxTimeoutMs: 60_000,
  maxPendingPerLeaf: 128,
  maxPending: 1_024,
  maxConnectionsPerTunnel: 900,
  maxKnownLeaves: 10_000,
};

export interface RouterTunnelStatus {
  readonly tunnel: string;
  readonly leaf: string;
  readonly agent: string;
  readonly state: 'attached' | 'claimed' | 'draining';
  readonly openConnections: number;
  readonly pendingDials: number;
  readonly nodes: readonly OfferedNode[];
}

/** Read-only view for logs, metrics, ListNodes and checkers; tunnels in the order of their names. */
export interface RouterStatus {
  readonly tunnels: readonly RouterTunnelStatus[];
  readonly pendingDials: number;
  readonly openConnections: number;
  /** Dials in flight through a peer, and connections open through one. */
  readonly forwarded: number;
  readonly knownLeaves: number;
}
