import type { ClientDuplexStream, ServerDuplexStream, StatusObject } from '@grpc/grpc-js';
import { status as Status } from '@grpc/grpc-js';
import { decodeFrame, encodeFrame, FrameDecodeError } from '@xylem/wire';
import type { carry } from '@xylem/wire';
import { limitReadAhead } from './read-ahead.ts';
import { closeServerStreamLater, resetServerStream } from './server-stream.ts';
import { plainText } from './plain-text.ts';

/** A stream of undecoded frames: made with `RawFrameMethods` of @xylem/wire on either side. */
export type RawFrameStream = ClientDuplexStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>;

/** How a frame stream ended, as the transport tells it. Only End frames say that a connection ended cleanly. */
export interface FramesOver {
  readonly orderly: boolean;
  /** gRPC status code; 0 when orderly. */
  readonly code: number;
  readonly detail: string;
}

export interface FramePortListener {
  /** One undecoded frame. Not called between `pause()` and `resume()`. */
  frame(bytes: Buffer): void;
  /** The queue is below its bound again, after `send` returned false. */
  writable(): void;
  /** The stream is over: exactly once, the last call. */
  over(end: FramesOver): void;
}

/** What came first on a stream. */
export type FirstFrame =
  | { readonly kind: 'frame'; readonly frame: carry.Frame }
  | { readonly kind: 'invalid'; readonly detail: string }
  | { readonly kind: 'over'; readonly end: FramesOver }
  | { readonly kind: 'timeout' };

/**
 * Bytes queued in one direction before the source is paused: four frames, so that the transport never waits for the
 * next one. With the HTTP/2 stream window it is the bound on memory per connection and direction.
 */
export const QUEUE_BYTES = 262_144;

/**
 * One gRPC frame stream with both sides' peculiarities evened out. Make it in the same turn of the event loop as the
 * stream itself, so that no ending is missed. Reads nothing until a listener is set or `first` is called.
 */
export class FramePort {
  readonly #stream: RawFrameStream;
  #listener: FramePortListener | undefined;
  #over: FramesOver | undefined;
  #queuedBytes = 0;
  #full = false;
  #ended = false;
  #finished = false;

  constructor(stream: RawFrameStream) {
    this.#stream = stream;
    limitReadAhead(stream);
    stream.on('data', (bytes: Buffer) => this.#listener?.frame(bytes));
    stream.pause();
    if ('cancel' in stream) {
      // After an orderly status there may still be frames in the stream's buffer: it is over when those were read.
      let orderly = false;
      let drained = false;
      stream.on('end', () => {
        drained = true;
        if (orderly) this.#finish(true, Status.OK, '');
      });
      stream.on('status', (status: StatusObject) => {
        orderly = status.code === Status.OK;
        if (!orderly || drained) this.#finish(orderly, status.code, status.details);
      });
      stream.on('error', (error: Error & Partial<StatusObject>) => {
        this.#finish(false, error.code ?? Status.UNKNOWN, error.details ?? error.message);
      });
      return;
    }
    stream.on('finish', () => {
      this.#finished = true;
    });
    stream.on('cancelled', () => {
      closeServerStreamLater(stream);
      if (this.#finished) this.#finish(true, Status.OK, '');
      else this.#finish(false, Status.CANCELLED, 'the stream was closed by the other side');
    });
    if (stream.cancelled) this.#finish(false, Status.CANCELLED, 'the stream was closed by the other side');
  }

  /** Set once the stream is over. */
  get over(): FramesOver | undefined {
    return this.#over;
  }

  /**
   * Hands the stream to its one user from now on and starts reading. When the stream is over already, `over` is called
   * in a later microtask.
   */
  listen(listener: FramePortListener): void {
    this.#listener = listener;
    const over = this.#over;
    if (over === undefined) {
      this.#stream.resume();
      return;
    }
    queueMicrotask(() => {
      if (this.#listener === listener) listener.over(over);
    });
  }

  /** Reads exactly one frame; the rest stays in the stream. Never rejects. */
  first(timeoutMs: number): Promise<FirstFrame> {
    return new Promise((resolve) => {
      const settle = (first: FirstFrame): void => {
        clearTimeout(timer);
        this.#listener = undefined;
        this.#stream.pause();
        resolve(first);
      };
      const timer = setTimeout(() => settle({ kind: 'timeout' }), timeoutMs);
      this.listen({
        frame: (bytes) => settle(decoded(bytes)),
        writable: () => {},
        over: (end) => settle({ kind: 'over', end }),
      });
    });
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    if (this.#over === undefined) this.#stream.resume();
  }

  /** Queues a frame. False: more than QUEUE_BYTES wait, hold back until `writable`. Dropped once the stream is over or ended. */
  send(frame: carry.Frame): boolean {
    return this.sendRaw(encodeFrame(frame));
  }

  sendRaw(bytes: Buffer): boolean {
    if (this.#over !== undefined || this.#ended) return true;
    const { length } = bytes;
    this.#queuedBytes += length;
    this.#stream.write(bytes, () => this.#written(length));
    this.#full ||= this.#queuedBytes > QUEUE_BYTES;
    return !this.#full;
  }

  /** Ends our direction after what is queued. Idempotent. */
  end(): void {
    if (this.#ended || this.#over !== undefined) return;
    this.#ended = true;
    this.#stream.end();
  }

  /** Gives the stream up at once, whatever is queued. Idempotent. */
  cancel(detail: string): void {
    if (this.#over !== undefined) return;
    const stream = this.#stream;
    if ('cancel' in stream) stream.cancel();
    else resetServerStream(stream);
    this.#finish(false, Status.CANCELLED, detail);
  }

  #written(bytes: number): void {
    this.#queuedBytes -= bytes;
    if (!this.#full || this.#queuedBytes > QUEUE_BYTES / 2) return;
    this.#full = false;
    if (this.#over === undefined) this.#listener?.writable();
  }

  #finish(orderly: boolean, code: number, detail: string): void {
    if (this.#over !== undefined) return;
    const over: FramesOver = { orderly, code, detail: plainText(detail) };
    this.#over = over;
    // What is still buffered is dropped: nothing may be delivered after the ending.
    this.#stream.resume();
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.over(over);
  }
}

function decoded(bytes: Buffer): FirstFrame {
  try {
    return { kind: 'frame', frame: decodeFrame(bytes) };
  } catch (error) {
    if (!(error instanceof FrameDecodeError)) throw error;
    return { kind: 'invalid', detail: error.message };
  }
}
