import type { FramePort, OpenLane } from '@xylem/carrier';
import type { DialOutcome, DialWay, ResetReason } from '@xylem/tunnel';
import type { carry } from '@xylem/wire';
import type { Authorisation, ChosenDial } from '../security/dial-authority.ts';
import type { AskedDial } from '../security/policy-gate.ts';

/** A connection somebody asks for. Identity and authority have been checked; names are DNS labels. */
export interface DialOrder {
  readonly leaf: string;
  readonly node: string;
  /** 0: the node's only port. */
  readonly port: number;
  /** Empty: nobody in particular. */
  readonly user: string;
  /** What the user showed at the root proxy it came to. */
  readonly proof: carry.UserProof;
  /** Where it came from: the user's address, or the root proxy that forwarded it. For logs and audit. */
  readonly source: string;
  /** Root proxies passed so far. */
  readonly hops: number;
  /** 0: the default. */
  readonly timeoutMs: number;
  /** W3C trace context of the span that covers the dial; empty for none. */
  readonly traceparent: string;
}

/** A dial in progress. */
export interface Dial {
  /** Never rejects, and stays pending for ever after `abandon`. */
  readonly answer: Promise<DialAnswer>;
  /** The requester went away. Without effect once the answer is there. */
  abandon(): void;
}

export type DialAnswer =
  | { readonly outcome: 'connected'; readonly via: readonly string[]; readonly connection: OpenConnection }
  | { readonly outcome: Exclude<DialOutcome, 'connected'>; readonly detail: string; readonly via: readonly string[] };

/** A connection whose node has accepted. Whoever gets it has to `join` it, once. */
export interface OpenConnection {
  readonly id: string;
  /** Towards the node, its outcome read. */
  readonly frames: FramePort;
  /** For both its directions. */
  readonly lane: OpenLane;
  /** Says what carries the connection from now on, so that a drain can end it. */
  join(carried: Ending): void;
}

/** What the two ways of carrying a connection have in common. */
export interface Ending {
  readonly closed: Promise<ConnectionSummary>;
  /** Payload bytes so far: from the user to the node, and back. */
  totals(): { readonly upBytes: number; readonly downBytes: number };
  abort(reason: ResetReason, detail: string): void;
}

export interface ConnectionSummary {
  readonly kind: 'clean' | 'not-connected' | 'reset';
  readonly reason: ResetReason | undefined;
  readonly detail: string;
  /** Payload bytes from the user to the node, and back. */
  readonly upBytes: number;
  readonly downBytes: number;
}

/** Where the other ends of dials are. */
export interface DialPorts {
  /** Why nobody with this name may dial this; undefined when the policy allows it. */
  denial(dial: AskedDial): string | undefined;
  /** Gets leave for one dial on one tunnel. Never rejects; takes some seconds at most. */
  authorise(tunnel: string, dial: Omit<ChosenDial, 'agent' | 'instance'>): Promise<Authorisation>;
  /** Sends DialRequest on the tunnel's control stream; without effect when the tunnel has gone. */
  sendDial(dial: TunnelDial): void;
  sendCancel(tunnel: string, connection: string): void;
  /** A dial on this tunnel timed out: the node did not answer, or the agent. */
  unanswered(tunnel: string): void;
  /** Opens PeerService.Forward; undefined when that proxy cannot be reached within the time. Never rejects. */
  openForward(proxy: string, withinMs: number): Promise<FramePort | undefined>;
}

export interface TunnelDial {
  readonly tunnel: string;
  readonly connection: string;
  readonly leaf: string;
  readonly node: string;
  readonly port: number;
  readonly user: string;
  readonly timeoutMs: number;
  readonly incarnation: bigint;
  readonly token: bigint;
  readonly traceparent: string;
  /** Compact JWS: the registry's leave for this dial, or the standing grant of the leaf cluster. */
  readonly grant: string;
}

/** For logs and metrics. */
export interface DialObserver {
  dialAnswered(
    order: DialOrder,
    connection: string,
    outcome: DialOutcome,
    detail: string,
    way: DialWay,
    durationMs: number,
  ): void;
  connectionClosed(order: DialOrder, connection: string, summary: ConnectionSummary): void;
  /** An agent answered a dial that another tunnel was asked for. */
  answerDenied(tunnel: string, connection: string, detail: string): void;
}
