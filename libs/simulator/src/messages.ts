import type {
  AgentId,
  Evidence,
  FencingToken,
  GossipMessage,
  Incarnation,
  InstanceNonce,
  LeafId,
  ProxyId,
  Stamp,
  TunnelId,
} from '@xylem/discovery';

/** What travels from agent to root proxy on the control stream; the fields that decide anything, as in tunnel.proto. */
export type AgentMessage =
  | {
      readonly type: 'hello';
      readonly leaf: LeafId;
      readonly agent: AgentId;
      readonly nonce: InstanceNonce;
      readonly tunnel: TunnelId;
      readonly replaces: TunnelId | undefined;
    }
  | { readonly type: 'standby' }
  | { readonly type: 'ping'; readonly nonce: bigint }
  | { readonly type: 'pong'; readonly nonce: bigint }
  | { readonly type: 'snapshotWanted'; readonly have: Stamp | undefined }
  | { readonly type: 'evidence'; readonly evidence: Evidence }
  | { readonly type: 'drain' }
  | { readonly type: 'goodbye'; readonly reason: string }
  | { readonly type: 'dialAnswer'; readonly dial: number; readonly outcome: 'connected' | 'stale-incarnation' };

/** What travels from root proxy to agent. */
export type ProxyMessage =
  | {
      readonly type: 'welcome';
      readonly proxy: ProxyId;
      readonly incarnation: Incarnation;
      readonly via: ProxyId | undefined;
      /** Which start of the process this is: for checkers only, no agent decides by it. */
      readonly life: number;
    }
  | { readonly type: 'refused'; readonly reason: 'duplicate-id' | 'refused'; readonly retryAfterMs: number }
  | { readonly type: 'granted'; readonly slot: number }
  | {
      readonly type: 'recorded';
      readonly slot: number;
      readonly token: FencingToken;
      readonly incarnation: Incarnation;
    }
  | { readonly type: 'held'; readonly holder: AgentId }
  | { readonly type: 'gossip'; readonly message: GossipMessage }
  | { readonly type: 'ping'; readonly nonce: bigint }
  | { readonly type: 'pong'; readonly nonce: bigint }
  | { readonly type: 'drain'; readonly spreadMs: number; readonly deadlineMs: number }
  | { readonly type: 'goodbye'; readonly reason: string }
  | {
      readonly type: 'dial';
      readonly dial: number;
      readonly incarnation: Incarnation;
      readonly token: FencingToken;
      /** For checkers only. */
      readonly life: number;
    };

/** Intervals that the welcome states in production; one value for every simulated tunnel. */
export const LIVENESS = { intervalMs: 5_000, deadAfterMs: 10_000 } as const;
