import { DEFAULT_SPLICE_CONFIG, SplicedConnection } from '@xylem/tunnel';
import type { ResetReason, Side, SpliceConfig, SpliceEffect, SpliceEnd, SpliceEvent } from '@xylem/tunnel';
import { decodeFrame, FrameDecodeError, peekFrame } from '@xylem/wire';
import { reasonFromWire, reasonToWire } from './codes.ts';
import type { FramePort } from './frame-port.ts';
import { PacedSource } from './pace.ts';
import type { OpenLane } from './pace.ts';
import { DeadlineTimer } from './timer.ts';
import { plainText } from './plain-text.ts';

export interface SpliceOptions extends Partial<SpliceConfig> {
  /** Towards who asked. Its `open` was read, and the outcome `connected` was sent on it. */
  readonly requester: FramePort;
  /** Towards who answered. Its outcome was read. */
  readonly answerer: FramePort;
  /** How fast each side may be read. Default: as fast as the other takes it. */
  readonly pace?: Readonly<Record<Side, OpenLane>>;
}

/** A connection being forwarded. */
export interface Spliced {
  /** How it ended; resolves exactly once and never rejects. */
  readonly closed: Promise<SpliceEnd>;
  /** Gives the connection up: both ends see a reset. */
  abort(reason: ResetReason, detail: string): void;
  /** Payload bytes forwarded so far. */
  totals(): { readonly upBytes: number; readonly downBytes: number };
}

/**
 * Forwards frames between two streams without decoding payloads, with back-pressure both ways, until both directions
 * have ended. Memory per direction: QUEUE_BYTES and the HTTP/2 stream window.
 */
export function splice(options: SpliceOptions): Spliced {
  const hop = new Hop(options);
  hop.start();
  return {
    closed: hop.closed,
    abort: (reason, detail) => hop.event({ type: 'abortRequested', reason, detail }),
    totals: () => hop.core.totals(),
  };
}

const NO_BYTES = Buffer.alloc(0);

/** The shell of one SplicedConnection. */
class Hop {
  readonly core: SplicedConnection;
  readonly closed: Promise<SpliceEnd>;
  readonly #ports: Readonly<Record<Side, FramePort>>;
  readonly #sources: Readonly<Record<Side, PacedSource>>;
  readonly #timer = new DeadlineTimer(() => this.event({ type: 'timeout' }));
  #resolve: (end: SpliceEnd) => void = () => {};
  /** The frame being handled. */
  #bytes: Buffer = NO_BYTES;

  constructor(options: SpliceOptions) {
    const { requester, answerer, pace, ...config } = options;
    this.#ports = { requester, answerer };
    this.#sources = {
      requester: new PacedSource(requester, pace?.requester),
      answerer: new PacedSource(answerer, pace?.answerer),
    };
    this.core = new SplicedConnection({ ...DEFAULT_SPLICE_CONFIG, ...config }, performance.now());
    this.closed = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  start(): void {
    this.#timer.arm(this.core.nextTimeout());
    this.#listen('requester', 'answerer');
    this.#listen('answerer', 'requester');
  }

  event(event: SpliceEvent): void {
    this.core.handle(event, performance.now());
    for (let effect = this.core.pollEffect(); effect !== undefined; effect = this.core.pollEffect())
      this.#perform(effect);
    this.#bytes = NO_BYTES;
    this.#timer.arm(this.core.nextTimeout());
  }

  #listen(side: Side, opposite: Side): void {
    this.#ports[side].listen({
      frame: (bytes) => {
        this.#frame(side, bytes);
        this.#sources[side].passed(bytes.length);
      },
      writable: () => this.#sources[opposite].resume(),
      over: ({ orderly, detail }) => this.event({ type: 'framesEnded', side, orderly, detail }),
    });
  }

  #frame(from: Side, bytes: Buffer): void {
    this.#bytes = bytes;
    this.event(this.#read(from, bytes));
  }

  #read(from: Side, bytes: Buffer): SpliceEvent {
    try {
      const { kind, payloadBytes } = peekFrame(bytes);
      if (kind === 'data') return { type: 'dataReceived', from, bytes: payloadBytes };
      const frame = decodeFrame(bytes).kind;
      if (frame?.$case === 'end') return { type: 'endReceived', from };
      if (frame?.$case === 'reset') {
        return {
          type: 'resetReceived',
          from,
          reason: reasonFromWire(frame.value.reason),
          detail: plainText(frame.value.detail),
        };
      }
      return {
        type: 'frameInvalid',
        from,
        detail: `a frame of kind ${kind ?? 'unknown'} came from the ${from} after the start`,
      };
    } catch (error) {
      if (!(error instanceof FrameDecodeError)) throw error;
      return { type: 'frameInvalid', from, detail: error.message };
    }
  }

  #perform(effect: SpliceEffect): void {
    switch (effect.type) {
      case 'forward':
        if (!this.#ports[effect.to].sendRaw(this.#bytes))
          this.#sources[effect.to === 'requester' ? 'answerer' : 'requester'].pause();
        return;
      case 'sendReset':
        this.#ports[effect.to].send({
          kind: { $case: 'reset', value: { reason: reasonToWire(effect.reason), detail: effect.detail } },
        });
        return;
      case 'endFrames':
        // An ending connection still reads, so that the other side's ending gets through a full buffer.
        this.#sources[effect.side].resume();
        return this.#ports[effect.side].end();
      case 'cancelFrames':
        return this.#ports[effect.side].cancel(effect.detail);
      case 'closed':
        this.#timer.stop();
        this.#sources.requester.close();
        this.#sources.answerer.close();
        return this.#resolve(effect.end);
    }
  }
}
