import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { once } from 'node:events';

/** A TCP client that says exactly what a test wants and remembers all it hears. */
export class RawClient {
  readonly socket: Socket;
  #heard: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.#heard = Buffer.concat([this.#heard, chunk]);
    });
  }

  static async connect(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const socket = connect({ host, port, allowHalfOpen: true });
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  get heard(): string {
    return this.#heard.toString('latin1');
  }

  say(text: string): void {
    this.socket.write(Buffer.from(text, 'latin1'));
  }

  /** Waits until what was heard contains `text`. */
  async hears(text: string, withinMs = 5_000): Promise<string> {
    const deadline = AbortSignal.timeout(withinMs);
    while (!this.heard.includes(text)) await once(this.socket, 'data', { signal: deadline });
    return this.heard;
  }

  /** Waits for the end of the connection; answers with all that was heard. */
  async closes(withinMs = 5_000): Promise<string> {
    if (!this.socket.closed && !this.socket.readableEnded) {
      await Promise.race([
        once(this.socket, 'end', { signal: AbortSignal.timeout(withinMs) }),
        once(this.socket, 'close', { signal: AbortSignal.timeout(withinMs) }),
      ]);
    }
    this.socket.destroy();
    return this.heard;
  }
}
