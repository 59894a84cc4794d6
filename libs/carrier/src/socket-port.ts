import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { MAX_DATA_BYTES } from '@xylem/tunnel';

export interface SocketPortListener {
  /** 1 to MAX_DATA_BYTES bytes, read in order. */
  read(bytes: Uint8Array): void;
  /** FIN, after everything was read. */
  ended(): void;
  /** Writing may go on after `write` returned false. */
  writable(): void;
  /** Everything written, and the FIN, has been handed over. Follows `end()`. */
  flushed(): void;
  /** Failed, or closed before its time. At most once, and nothing after it. */
  failed(detail: string): void;
}

/** Reads of at least this size become a frame of their own at once; smaller ones wait for the end of the turn. */
const LARGE_READ_BYTES = 16_384;

/**
 * One socket: reads coalesced per turn of the event loop, writes with back-pressure, half-close, reset. A frame costs
 * as much as copying 64 KiB, so many small reads in one turn become one.
 */
export class SocketPort {
  readonly #socket: Duplex;
  readonly #reset: (() => void) | undefined;
  readonly #listener: SocketPortListener;
  #started = false;
  #over = false;
  #finished = false;
  #ended = false;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #flush: NodeJS.Immediate | undefined;

  constructor(socket: Duplex, reset: (() => void) | undefined, listener: SocketPortListener) {
    this.#socket = socket;
    this.#reset = reset;
    this.#listener = listener;
  }

  /** Starts reading, and watching for failure. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    const socket = this.#socket;
    if (socket instanceof Socket) socket.setNoDelay(true);
    socket.on('data', (bytes: Uint8Array) => this.#read(bytes));
    socket.on('end', () => this.#end());
    socket.on('drain', () => {
      if (!this.#over) this.#listener.writable();
    });
    socket.on('finish', () => {
      if (this.#over) return;
      this.#finished = true;
      this.#listener.flushed();
    });
    socket.on('error', (error) => this.#fail(error.message));
    socket.on('close', () => {
      if (!this.#ended || !this.#finished) this.#fail('the socket was closed');
    });
    if (socket.destroyed) queueMicrotask(() => this.#fail('the socket was closed'));
    // A socket that ended with nothing to read before it came here has said so already, and will not again.
    else if (socket.readableEnded) queueMicrotask(() => this.#end());
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#over && this.#started) this.#socket.resume();
  }

  /** False: hold back until `writable`. */
  write(bytes: Uint8Array): boolean {
    if (this.#over) return true;
    return this.#socket.write(bytes);
  }

  /** FIN after everything written; reading goes on. */
  end(): void {
    if (!this.#over) this.#socket.end();
  }

  /** The far end sees a TCP reset; what is unwritten is dropped. */
  reset(): void {
    this.#over = true;
    clearImmediate(this.#flush);
    if (!this.#started) this.#socket.on('error', () => {});
    if (this.#reset !== undefined) this.#reset();
    else if (this.#socket instanceof Socket && !('encrypted' in this.#socket)) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  #read(bytes: Uint8Array): void {
    if (this.#over) return;
    if (this.#waitingBytes === 0 && bytes.length >= LARGE_READ_BYTES) return this.#emit(bytes);
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes >= MAX_DATA_BYTES) this.#emitWaiting();
    else this.#flush ??= setImmediate(() => this.#emitWaiting());
  }

  #emitWaiting(): void {
    clearImmediate(this.#flush);
    this.#flush = undefined;
    if (this.#over || this.#waitingBytes === 0) return;
    const [first] = this.#waiting;
    const bytes =
      this.#waiting.length === 1 && first !== undefined ? first : Buffer.concat(this.#waiting, this.#waitingBytes);
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#emit(bytes);
  }

  #emit(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && !this.#over; at += MAX_DATA_BYTES) {
      this.#listener.read(bytes.subarray(at, Math.min(at + MAX_DATA_BYTES, bytes.length)));
    }
  }

  #end(): void {
    if (this.#over) return;
    this.#emitWaiting();
    this.#ended = true;
    if (!this.#over) this.#listener.ended();
  }

  #fail(detail: string): void {
    if (this.#over) return;
    this.#over = true;
    clearImmediate(this.#flush);
    this.#listener.failed(detail);
  }
}
