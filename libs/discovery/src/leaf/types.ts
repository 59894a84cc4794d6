import type { Evidence, GossipMessage, Stamp } from '../shared/gossip.ts';
import type { AgentId, DialId, FencingToken, Incarnation, LeafId, ProxyId, TunnelId } from '../shared/ids.ts';
import type { Instant } from '../shared/time.ts';

/** Everything a leaf agent's discovery can be told. The shell maps each transport fact to exactly one event. */
export type LeafEvent =
  /** The TLS and gRPC handshakes of a dial are done and the proxy has said who it is (its welcome). Ends the dial. */
  | {
      readonly type: 'tunnelEstablished';
      readonly dial: DialId;
      readonly tunnel: TunnelId;
      readonly proxy: ProxyId;
      readonly incarnation: Incarnation;
      /** The proxy that relays the bytes; undefined for a direct tunnel. */
      readonly via: ProxyId | undefined;
    }
  /** A dial ended without a welcome: refused, reset, deadline, certificate, `Refused` message. Ends the dial. */
  | {
      readonly type: 'dialFailed';
      readonly dial: DialId;
      readonly reason: DialFailure;
      /** The peer asked not to be tried sooner; 0 when it did not say. */
      readonly retryAfterMs: number;
    }
  | { readonly type: 'gossipReceived'; readonly tunnel: TunnelId; readonly message: GossipMessage }
  /** First answer to a claim, or a promotion from standby. */
  | { readonly type: 'claimGranted'; readonly tunnel: TunnelId; readonly slot: number }
  /** The claim is in etcd now and has its fencing token. */
  | {
      readonly type: 'claimRecorded';
      readonly tunnel: TunnelId;
      readonly token: FencingToken;
      readonly incarnation: Incarnation;
    }
  /** Another agent of this leaf cluster holds every slot of the proxy. */
  | { readonly type: 'claimHeld'; readonly tunnel: TunnelId; readonly holder: AgentId }
  | {
      readonly type: 'drainAnnounced';
      readonly tunnel: TunnelId;
      readonly spreadMs: number;
      readonly deadlineMs: number;
    }
  /**
   * The control stream ended, for whatever reason; the last event of a tunnel. `graceful` after a GOODBYE; `reason` then
   * starts with the RootCloseReason that the proxy gave, where it gave one.
   */
  | { readonly type: 'tunnelClosed'; readonly tunnel: TunnelId; readonly graceful: boolean; readonly reason: string }
  /** This process is about to stop: dial no more, leave every proxy in order. */
  | { readonly type: 'leaveRequested'; readonly deadlineMs: number }
  | { readonly type: 'timeout' };

export type DialFailure =
  /** No TCP connection to the balancer. */
  | 'unreachable'
  /** A stage of the dial passed its deadline. */
  | 'timeout'
  /** TLS failed, or the certificate is not that of the target. */
  | 'handshake'
  /** The proxy (or the relaying one) refused: version, identity, limits. */
  | 'refused'
  /** A live second instance uses this agent's id. */
  | 'duplicate-id'
  /** The attempt met a proxy that this agent already holds a tunnel to. */
  | 'already-claimed'
  /** The connection broke before the welcome. */
  | 'lost';

/** What the shell must do. Effects are data; the shell performs them in the order polled. */
export type LeafEffect =
  /**
   * Open one connection to the balancer (exactly one TCP connection) and attach. Answered by exactly one
   * `tunnelEstablished` or `dialFailed`, by `deadline` at the latest.
   */
  | {
      readonly type: 'dial';
      readonly dial: DialId;
      /** Steer to this proxy by server name; undefined for an unsteered attempt. */
      readonly target: ProxyId | undefined;
      /**
       * The tunnel of this agent to the same proxy that the new one is meant to replace, if any: a relayed one, or one
       * that is lost here and may still look alive at the proxy.
       */
      readonly replaces: TunnelId | undefined;
      readonly deadline: Instant;
    }
  /** Give up a dial in flight; still answered by `dialFailed`. */
  | { readonly type: 'cancelDial'; readonly dial: DialId }
  /** Ask the proxy to keep this tunnel as standby. Sent after `claimHeld`. */
  | { readonly type: 'requestStandby'; readonly tunnel: TunnelId }
  /** Tell the proxy that there is a gap after `have` and a snapshot is wanted. */
  | { readonly type: 'requestSnapshot'; readonly tunnel: TunnelId; readonly have: Stamp | undefined }
  /** Tell the proxy, which knows of nothing so late, what a registry signed: the store may have been restored from a backup. */
  | { readonly type: 'showEvidence'; readonly tunnel: TunnelId; readonly evidence: Evidence }
  /** Send GOODBYE with the reason and close, open connections permitting (the shell drains them by `deadline`). */
  | {
      readonly type: 'closeTunnel';
      readonly tunnel: TunnelId;
      readonly reason: CloseReason;
      /** Carried connections may finish until then; undefined closes at once. */
      readonly deadline: Instant | undefined;
    };

export type CloseReason =
  /** Another agent of the leaf cluster serves this proxy and no standby is needed here. */
  | 'claim-held'
  /** This agent has a tunnel to the same proxy already. */
  | 'duplicate'
  /** A better tunnel to the same proxy took over. */
  | 'replaced'
  /** The proxy drains and its replacement is claimed, or the drain deadline came. */
  | 'drained'
  /** A newer incarnation of this proxy has been seen. */
  | 'stale-incarnation'
  /** The proxy did not answer the claim in time. */
  | 'claim-timeout'
  /** This agent leaves. */
  | 'leaving';

/** How an agent finds and keeps its proxies. All times in milliseconds. */
export interface LeafConfig {
  readonly leaf: LeafId;
  readonly agent: AgentId;
  /** `sni`: attempts name their target (DESIGN: steering). `off`: the article's mode, chance decides. */
  readonly steering: 'sni' | 'off';
  /** Dials in flight at once, at most. Default 8. */
  readonly maxPermits: number;
  /** Entries that nobody vouches for and that are not connected are forgotten after this. Default 180_000. */
  readonly expiryMs: number;
  /** Backoff with full jitter while attempts fail or land on proxies already held: first and greatest ceiling. Defaults 100, 8_000. */
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** Total deadline of one dial. Default 10_000. */
  readonly dialTimeoutMs: number;
  /** With nothing wanted: at most one jittered probe in this time. Default 60_000. */
  readonly probeIntervalMs: number;
  /** How long a claim's answer may take after the welcome before the tunnel is given up. Default 5_000. */
  readonly claimTimeoutMs: number;
  /** Relayed tunnels are tried again directly at most this often. Default 30_000. */
  readonly directRetryMs: number;
  /**
   * Standby tunnels kept at proxies that another agent of the leaf cluster holds, so that a takeover needs no dial; at
   * the proxy each costs about 95 KB. Default 32.
   */
  readonly standbys?: number;
  /** Beyond `standbys`: how often a held proxy is tried again, jittered up to twice that. Default 15_000. */
  readonly siblingRetryMs?: number;
  /** When several tunnels are lost together: agents wait a random part of this before they dial again. Default 5_000. */
  readonly redialSpreadMs?: number;
  /** How long a replaced tunnel may finish its connections. Default 3_600_000. */
  readonly lingerMs?: number;
}

/** One line of the agent's view, for logs, metrics, the matrix and checkers. */
export interface PoolEntryStatus {
  readonly proxy: ProxyId;
  readonly incarnation: Incarnation;
  readonly state: 'seeking' | 'claimed' | 'backoff' | 'sibling' | 'standby' | 'draining' | 'gone';
  /** Why it is not claimed, for a person; empty when it is. */
  readonly why: string;
  readonly via: ProxyId | undefined;
  readonly tunnel: TunnelId | undefined;
  readonly token: FencingToken;
}

export interface LeafStatus {
  readonly entries: readonly PoolEntryStatus[];
  readonly stamp: Stamp | undefined;
  /** Entries that a dial would be for. */
  readonly wanted: number;
  readonly claimed: number;
  readonly dialsInFlight: number;
  readonly dialsTotal: number;
  /** Dials that met a proxy already held or one that is gone. */
  readonly wastedDialsTotal: number;
  readonly nextDialAt: Instant | undefined;
  /** What a person has to mend before this agent can work, e.g. a second instance with its id; undefined when nothing. */
  readonly problem: string | undefined;
}
