import { status as Status } from '@grpc/grpc-js';
import type { MessageStream, StreamEnd, StreamPeer } from './api.ts';
import { Signal } from './signal.ts';

/** The part of a grpc-js duplex stream that is used here; its messages are Buffers. */
export interface ByteDuplex {
  readonly readableEnded: boolean;
  read(): unknown;
  write(bytes: Buffer, written: () => void): boolean;
  on(event: 'readable', listener: () => void): unknown;
  once(event: 'end', listener: () => void): unknown;
}

/** What differs between the two sides of a stream. Messages pass as bytes, so that queues can be counted in bytes. */
export interface StreamSide {
  readonly duplex: ByteDuplex;
  readonly peer: StreamPeer;
  metadata(key: string): string | undefined;
  /** Ends our direction after what was written. */
  end(): void;
  /** Gives the stream up, also when the peer reads nothing any more. */
  cancel(code: number, detail: string): void;
  /** Calls back once, when nothing more can be sent or received. */
  onClosed(listener: (end: StreamEnd) => void): void;
}

export interface StreamCodec<Out, In> {
  readonly encode: (message: Out) => Buffer;
  readonly decode: (bytes: Buffer) => In;
  readonly maxMessageBytes: number;
  readonly queueLimitBytes: number;
}

/** Above this `send` asks the sender to wait: one message of the greatest size, or many small ones. */
const SOFT_BOUND_BYTES = 64 * 1024;

/** MessageStream over a grpc-js stream of either side. */
export class ByteCountedStream<Out, In> implements MessageStream<Out, In> {
  readonly closed: Promise<StreamEnd>;
  readonly #side: StreamSide;
  readonly #codec: StreamCodec<Out, In>;
  #end: StreamEnd | undefined;
  /** Set by our own cancel, which is then how the stream ends, whatever grpc-js reports after it. */
  #cancelled: StreamEnd | undefined;
  #ended = false;
  #queuedBytes = 0;
  /** Wakes whoever waits for something to read, or for the queue to shrink. */
  readonly #readable = new Signal();
  readonly #writable = new Signal();

  constructor(side: StreamSide, codec: StreamCodec<Out, In>) {
    this.#side = side;
    this.#codec = codec;
    side.duplex.on('readable', () => this.#readable.raise());
    side.duplex.once('end', () => this.#readable.raise());
    this.closed = new Promise((resolve) => {
      side.onClosed((end) => {
        this.#end = this.#cancelled ?? end;
        resolve(this.#end);
        this.#readable.raise();
        this.#writable.raise();
      });
    });
  }

  get peer(): StreamPeer {
    return this.#side.peer;
  }

  metadata(key: string): string | undefined {
    return this.#side.metadata(key);
  }

  send(message: Out): boolean {
    if (this.#ended || this.#cancelled !== undefined || this.#end !== undefined) return false;
    const bytes = this.#codec.encode(message);
    if (bytes.length > this.#codec.maxMessageBytes) {
      const limit = this.#codec.maxMessageBytes;
      this.cancel(`message of ${bytes.length} bytes exceeds the limit of ${limit}`, Status.RESOURCE_EXHAUSTED);
      return false;
    }
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes > this.#codec.queueLimitBytes) {
      this.cancel(`the peer does not read: ${this.#queuedBytes} bytes are queued`, Status.RESOURCE_EXHAUSTED);
      return false;
    }
    this.#side.duplex.write(bytes, () => {
      this.#queuedBytes -= bytes.length;
      if (this.#queuedBytes <= SOFT_BOUND_BYTES) this.#writable.raise();
    });
    return this.#queuedBytes <= SOFT_BOUND_BYTES;
  }

  async drained(): Promise<void> {
    while (this.#queuedBytes > SOFT_BOUND_BYTES && this.#end === undefined && this.#cancelled === undefined) {
      await this.#writable.raised();
    }
  }

  end(): void {
    if (this.#ended || this.#end !== undefined) return;
    this.#ended = true;
    this.#side.end();
  }

  cancel(detail: string, code: number = Status.CANCELLED): void {
    if (this.#end !== undefined || this.#cancelled !== undefined) return;
    this.#cancelled = { kind: 'cancelled', detail };
    this.#side.cancel(code, detail);
    this.#readable.raise();
    this.#writable.raise();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<In, void, undefined> {
    while (this.#cancelled === undefined) {
      const bytes: unknown = this.#side.duplex.read();
      if (Buffer.isBuffer(bytes)) {
        const message = this.#decode(bytes);
        if (message === undefined) return;
        yield message.value;
      } else if (this.#end !== undefined || this.#side.duplex.readableEnded) {
        return;
      } else {
        await this.#readable.raised();
      }
    }
  }

  #decode(bytes: Buffer): { readonly value: In } | undefined {
    try {
      return { value: this.#codec.decode(bytes) };
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      this.cancel(`malformed message: ${detail}`, Status.INVALID_ARGUMENT);
      return undefined;
    }
  }
}
