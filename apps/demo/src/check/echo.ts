import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { openConnect } from './connect.ts';

const MESSAGE_BYTES = 1_024;
const ANSWER_TIMEOUT_MS = 5_000;

/** One connection to an echo node that is kept open while things happen around it. */
export class EchoConnection {
  readonly #socket: Socket;
  #bytes = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    // A reset between two exchanges is seen by the next one.
    socket.on('error', () => undefined);
  }

  static async open(frontDoor: string, authority: string): Promise<EchoConnection> {
    return new EchoConnection(await openConnect(frontDoor, authority));
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Sends a message of `size` bytes and expects it back. Rejects when the connection was cut, or another message came. */
  async exchange(size = MESSAGE_BYTES): Promise<void> {
    const message = randomBytes(size);
    this.#socket.write(message);
    const parts: Buffer[] = [];
    let received = 0;
    while (received < message.length) {
      const part: unknown = this.#socket.read();
      if (part instanceof Buffer) {
        parts.push(part);
        received += part.length;
        continue;
      }
      if (this.#socket.readableEnded || this.#socket.destroyed) throw new Error('the connection ended');
      await once(this.#socket, 'readable', { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
    }
    if (!Buffer.concat(parts).equals(message)) throw new Error('the echo differs from what was sent');
    this.#bytes += message.length;
  }

  /** Gives it up at once. */
  close(): void {
    this.#socket.destroy();
  }

  /** Ends in order: our FIN goes out, the node's comes back. Rejects on a reset. */
  async end(): Promise<void> {
    const ended = once(this.#socket, 'end', { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
    this.#socket.end();
    this.#socket.resume();
    await ended;
    this.#socket.destroy();
  }
}
