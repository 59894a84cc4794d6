import type { ResetReason } from '../codes.ts';

/** The two streams of a hop in the middle: towards who asked for the connection, and towards who answered. */
export type Side = 'requester' | 'answerer';

/** What a hop that forwards frames can be told. The outcome has been forwarded before; the connection is open. */
export type SpliceEvent =
  | { readonly type: 'dataReceived'; readonly from: Side; readonly bytes: number }
  | { readonly type: 'endReceived'; readonly from: Side }
  | { readonly type: 'resetReceived'; readonly from: Side; readonly reason: ResetReason; readonly detail: string }
  /** A frame that must not come here: outcome, open, an unknown kind, one that cannot be decoded. */
  | { readonly type: 'frameInvalid'; readonly from: Side; readonly detail: string }
  /** One stream is over. `orderly`: the transport says that both directions were ended. */
  | { readonly type: 'framesEnded'; readonly side: Side; readonly orderly: boolean; readonly detail: string }
  | { readonly type: 'abortRequested'; readonly reason: ResetReason; readonly detail: string }
  | { readonly type: 'timeout' };

/** What the shell must do, in the order polled. */
export type SpliceEffect =
  /** Pass the frame just handled on, unchanged, to the other side. */
  | { readonly type: 'forward'; readonly to: Side }
  | { readonly type: 'sendReset'; readonly to: Side; readonly reason: ResetReason; readonly detail: string }
  /** End our direction of this stream after what is queued. Answer with `framesEnded`. */
  | { readonly type: 'endFrames'; readonly side: Side }
  | { readonly type: 'cancelFrames'; readonly side: Side; readonly detail: string }
  /** Exactly one, and the last effect. */
  | { readonly type: 'closed'; readonly end: SpliceEnd };

export interface SpliceEnd {
  /** `clean`: End went both ways and both streams were ended in order. `reset`: all else. */
  readonly kind: 'clean' | 'reset';
  readonly reason: ResetReason | undefined;
  readonly detail: string;
  /** Payload bytes forwarded towards the answerer. */
  readonly upBytes: number;
  /** Payload bytes forwarded towards the requester. */
  readonly downBytes: number;
}

export interface SpliceConfig {
  /** Reset when no byte moved either way for this long; 0 for never. Default 0. */
  readonly idleTimeoutMs: number;
  /** Once End went both ways: how long a slow reader may take for what is still queued. Default 300_000. */
  readonly flushTimeoutMs: number;
  /** How long a Reset may take to leave before the streams are cancelled. Default 1_000. */
  readonly resetTimeoutMs: number;
}

export const DEFAULT_SPLICE_CONFIG: SpliceConfig = { idleTimeoutMs: 0, flushTimeoutMs: 300_000, resetTimeoutMs: 1_000 };
