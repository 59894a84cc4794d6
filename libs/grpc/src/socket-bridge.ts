import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { FrameMeter } from './frame-meter.ts';
import { carried } from './young-garbage.ts';

/**
 * Stands between a socket and its HTTP/2 session, and keeps reading the socket whatever the session does.
 *
 * Node's HTTP/2 stops reading while a write of its own is in progress. Two ends that both have more to write than the
 * kernel takes then wait for each other for ever: with windows for wide-area links, twenty busy streams stop a whole
 * connection. And a socket that nobody reads never tells that it was reset, so such a connection cannot even be lost
 * (nodejs/node#50884, #61304). Reading on breaks both. What piles up here is bounded by the windows that were granted,
 * and for a peer that ignores them by a limit.
 *
 * It costs a third of the processor time per byte. Servers have it as well as clients: without it a FIN that comes while
 * HTTP/2 reads natively is heard of only when a PING goes unanswered.
 */

/** Above what the windows of hundreds of streams allow; only a peer that ignores flow control gets here. */
const READ_AHEAD_LIMIT_BYTES = 64 * 1024 * 1024;

/** A net.Socket because grpc-js asks for one; without a handle, so that HTTP/2 treats it as the stream it is. */
export class SocketBridge extends Socket {
  readonly #socket: Duplex;
  #paused = false;

  /** Takes over the socket: its reading, its end and its errors. A flood of frames, as the meter sees it, is one. */
  constructor(socket: Duplex, meter: FrameMeter) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      const flood = meter.observe(chunk, performance.now());
      if (flood !== undefined) {
        socket.destroy(new Error(`the peer floods with ${flood.frame} frames: ${flood.count} within ten seconds`));
        return;
      }
      carried(chunk.length);
      this.push(chunk);
      if (this.readableLength > READ_AHEAD_LIMIT_BYTES && !this.#paused) {
        this.#paused = true;
        socket.pause();
      }
    });
    socket.once('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.once('close', () => this.destroy());
  }

  override _read(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    carried(chunk.length);
    this.#socket.write(chunk, done);
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: (error?: Error | null) => void): void {
    const last = chunks.length - 1;
    this.#socket.cork();
    chunks.forEach(({ chunk }, index) => {
      carried(chunk.length);
      if (index === last) this.#socket.write(chunk, done);
      else this.#socket.write(chunk);
    });
    this.#socket.uncork();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}
