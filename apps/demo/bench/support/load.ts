import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';

export type Direction = 'up' | 'down';

/** Where a contestant takes connections, and how one gets through to the node. */
export interface Entrance {
  readonly port: number;
  /** The CONNECT request's authority; undefined: the port leads to the node by itself. */
  readonly authority: string | undefined;
}

const READ_BYTES = 262_144;
const CHUNK = Buffer.alloc(65_536, 0x78);
const DIAL_DEADLINE_MS = 20_000;
const TRANSFER_DEADLINE_MS = 240_000;

/** A connection to the node, ready for its header. All connections of one load read into one buffer, which nobody looks at. */
export class LoadConnection {
  static readonly #buffer = Buffer.allocUnsafe(READ_BYTES);
  readonly #socket: Socket;
  #onRead: (bytes: Buffer) => void = () => undefined;

  private constructor({ port }: Entrance) {
    const callback = (bytes: number, buffer: Uint8Array): boolean => {
      this.#onRead(Buffer.from(buffer.buffer, buffer.byteOffset, bytes));
      return true;
    };
    const onread = { buffer: LoadConnection.#buffer, callback };
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true, onread });
  }

  /** Resolves when the entrance says that the node is reached, or accepted the connection where it says nothing. */
  static async open(entrance: Entrance): Promise<LoadConnection> {
    const connection = new LoadConnection(entrance);
    await once(connection.#socket, 'connect', { signal: AbortSignal.timeout(DIAL_DEADLINE_MS) });
    const { authority } = entrance;
    if (authority === undefined) return connection;
    let answer = '';
    const answered = connection.#until((bytes) => {
      answer += bytes.toString('latin1');
      return answer.includes('\r\n\r\n');
    }, DIAL_DEADLINE_MS);
    connection.#socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    await answered;
    if (!answer.startsWith('HTTP/1.1 200')) throw new Error(`${authority}: ${answer.split('\r\n')[0]}`);
    return connection;
  }

  /** Moves the bytes, all the way to the node or from it. */
  async transfer(direction: Direction, bytes: number): Promise<void> {
    let left = direction === 'down' ? bytes : 1;
    const done = this.#until((chunk) => (left -= chunk.length) <= 0, TRANSFER_DEADLINE_MS);
    this.#header(direction === 'down' ? 'd' : 'u', bytes);
    if (direction === 'up') await this.#pour(bytes);
    await done;
  }

  /** Makes the node echo from now on. */
  startEcho(): void {
    this.#header('e', 0);
  }

  async echo(message: Buffer): Promise<void> {
    let left = message.length;
    const back = this.#until((chunk) => (left -= chunk.length) <= 0, DIAL_DEADLINE_MS);
    this.#socket.write(message);
    await back;
  }

  close(): void {
    this.#socket.destroy();
  }

  #header(what: string, bytes: number): void {
    const header = Buffer.alloc(9);
    header.write(what, 'latin1');
    header.writeBigUInt64BE(BigInt(bytes), 1);
    this.#socket.write(header);
  }

  async #pour(bytes: number): Promise<void> {
    for (let left = bytes; left > 0; left -= CHUNK.length) {
      const chunk = left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK;
      if (!this.#socket.write(chunk)) await once(this.#socket, 'drain');
    }
  }

  /** Resolves when `enough` says so of something read; rejects when the connection ends first. */
  #until(enough: (bytes: Buffer) => boolean, deadlineMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const fail = (): void => reject(new Error('the connection ended before its time'));
    const timer = setTimeout(() => reject(new Error(`nothing within ${deadlineMs} ms`)), deadlineMs);
    this.#onRead = (bytes) => {
      if (enough(bytes)) resolve();
    };
    this.#socket.once('error', fail);
    this.#socket.once('close', fail);
    return promise.finally(() => {
      clearTimeout(timer);
      this.#socket.off('error', fail);
      this.#socket.off('close', fail);
    });
  }
}
