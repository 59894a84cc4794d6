import type { DialOutcome, ResetReason } from '../codes.ts';

/** Greatest payload of one data frame (carry.proto). */
export const MAX_DATA_BYTES = 65_536;

/** What one end of a carried connection can be told. Byte counts only: payloads stay with the shell. */
export type ConnectionEvent =
  /** The outcome is behind us: `connected` went over this stream before, or over none. Instead of the next two. */
  | { readonly type: 'connectedBefore' }
  /** Answerer only: the dial is decided. `connected` starts the flow, all else ends the connection. */
  | { readonly type: 'outcomeDecided'; readonly outcome: DialOutcome; readonly detail: string }
  /** The frame stream brought an outcome. */
  | { readonly type: 'outcomeReceived'; readonly outcome: DialOutcome; readonly detail: string }
  /** The frame stream brought payload; written to the socket iff `deliver` follows. */
  | { readonly type: 'dataReceived'; readonly bytes: number }
  | { readonly type: 'endReceived'; readonly totalBytes: bigint }
  | { readonly type: 'resetReceived'; readonly reason: ResetReason; readonly detail: string }
  /** A frame that must not come here: `open` after the start, an unknown kind, one that cannot be decoded. */
  | { readonly type: 'frameInvalid'; readonly detail: string }
  /** Payload was read from the socket; sent as one data frame iff `sendData` follows. 1 to 65_536 bytes. */
  | { readonly type: 'socketRead'; readonly bytes: number }
  /** The socket's reading side ended in order (FIN). */
  | { readonly type: 'socketEnded' }
  /** Everything delivered, and our FIN, has been handed to the kernel. Follows `endSocket`. */
  | { readonly type: 'socketFlushed' }
  /** The socket failed or was closed before its time. */
  | { readonly type: 'socketFailed'; readonly detail: string }
  /** The frame stream is over, whatever the cause. `orderly`: the transport says that both directions were ended. */
  | { readonly type: 'framesEnded'; readonly orderly: boolean; readonly detail: string }
  /** This process gives the connection up: drain deadline, shutdown, requester gone. */
  | { readonly type: 'abortRequested'; readonly reason: ResetReason; readonly detail: string }
  | { readonly type: 'timeout' };

/** What the shell must do, in the order polled. */
export type ConnectionEffect =
  | { readonly type: 'sendOutcome'; readonly outcome: DialOutcome; readonly detail: string }
  /** The node accepted: start reading the socket. A requester reports success to its user before it does. */
  | { readonly type: 'startPumping' }
  /** Send the payload of the `socketRead` just handled. */
  | { readonly type: 'sendData' }
  /** Write the payload of the `dataReceived` just handled to the socket. */
  | { readonly type: 'deliver' }
  /** Send End with the total, after all data. */
  | { readonly type: 'sendEnd'; readonly totalBytes: bigint }
  /** Send Reset; `endFrames` follows. */
  | { readonly type: 'sendReset'; readonly reason: ResetReason; readonly detail: string }
  /** FIN after everything delivered; the reading side stays open. Answer with `socketFlushed` or `socketFailed`. */
  | { readonly type: 'endSocket' }
  /** The far end of the socket must see a TCP reset, whatever is still unwritten. */
  | { readonly type: 'resetSocket' }
  /** End our direction of the frame stream after what is queued. Answer with `framesEnded`. */
  | { readonly type: 'endFrames' }
  /** Give the frame stream up at once. */
  | { readonly type: 'cancelFrames'; readonly detail: string }
  /** The connection is over. Exactly one, and the last effect. */
  | { readonly type: 'closed'; readonly end: ConnectionEnd };

/** How a carried connection ended, seen from this end, with payload bytes in both directions. */
export interface ConnectionEnd {
  /**
   * `clean`: both directions ended in order and every byte counted arrived. `not-connected`: it was over before an
   * outcome of `connected`; nothing touched the socket, so the shell can still give its answer there. `reset`: all
   * else; both TCP ends see a reset.
   */
  readonly kind: 'clean' | 'not-connected' | 'reset';
  /** Set with `not-connected`: the outcome, or the one that a loss or deadline before it amounts to. */
  readonly outcome: DialOutcome | undefined;
  /** Set with `reset`, and with `not-connected` when no outcome came. */
  readonly reason: ResetReason | undefined;
  /** One line for a person; empty for a clean end. */
  readonly detail: string;
  /** Payload bytes taken from the socket and sent as frames. */
  readonly sentBytes: number;
  /** Payload bytes received as frames and given to the socket. */
  readonly receivedBytes: number;
}

export interface ConnectionConfig {
  /** `requester`: waits for the outcome. `answerer`: gives it. */
  readonly role: 'requester' | 'answerer';
  /** How long the outcome may take. Default 70_000: beyond the greatest time a dial may be given, as a backstop. */
  readonly outcomeTimeoutMs: number;
  /** The connection is reset when no byte moved either way for this long; 0 for never, the default: TCP has no such limit. */
  readonly idleTimeoutMs: number;
  /** Once both directions ended: how long a slow reader may take for what is still queued. Default 300_000. */
  readonly flushTimeoutMs: number;
  /** How long a Reset may take to leave before the stream is cancelled. Default 1_000. */
  readonly resetTimeoutMs: number;
}

export const DEFAULT_CONNECTION_CONFIG: Omit<ConnectionConfig, 'role'> = {
  outcomeTimeoutMs: 70_000,
  idleTimeoutMs: 0,
  flushTimeoutMs: 300_000,
  resetTimeoutMs: 1_000,
};

/** Read-only view for logs, metrics and checkers. */
export interface ConnectionStatus {
  /** dialling: no outcome yet; open; flushing: both directions ended; ending: outcome or reset on its way; closed. */
  readonly phase: 'dialling' | 'open' | 'flushing' | 'ending' | 'closed';
  /** Whether the direction socket to frames has ended. */
  readonly sendEnded: boolean;
  /** Whether the direction frames to socket has ended. */
  readonly receiveEnded: boolean;
  readonly sentBytes: number;
  readonly receivedBytes: number;
}
