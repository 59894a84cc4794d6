import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import type { TestContext } from 'node:test';

/** One direction of a SlowLink. */
export class LinkDirection {
  readonly #delayMs: number;
  readonly #held: (() => void)[] = [];
  #holding = false;
  #bytes = 0;
  #onBytes: () => void = () => undefined;

  constructor(delayMs: number) {
    this.#delayMs = delayMs;
  }

  /** Bytes that entered this direction so far, delivered or not. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Delivers nothing until `release`, as a network that has stopped. */
  hold(): void {
    this.#holding = true;
  }

  release(): void {
    this.#holding = false;
    for (const deliver of this.#held.splice(0)) deliver();
  }

  /** Resolves when nothing has entered this direction for `quietMs`. */
  quiet(quietMs = 100): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, quietMs);
      this.#onBytes = () => timer.refresh();
    });
  }

  pass(from: Socket, to: Socket): void {
    const deliver = (action: () => void): void => {
      if (this.#holding) this.#held.push(action);
      else action();
    };
    const later = (action: () => void): void => {
      if (this.#delayMs === 0) deliver(action);
      else setTimeout(deliver, this.#delayMs, action);
    };
    from.on('data', (chunk) => {
      this.#bytes += chunk.length;
      this.#onBytes();
      later(() => void to.write(chunk));
    });
    from.on('end', () => later(() => void to.end()));
    from.on('close', () => later(() => void to.destroy()));
    from.on('error', () => undefined);
  }
}

/** A TCP relay on loopback with a one-way delay and a count of bytes, each way. */
export interface SlowLink {
  readonly address: string;
  readonly toServer: LinkDirection;
  readonly toClient: LinkDirection;
  close(): void;
}

/** @param delayMs one way; half of the round trip that is added */
export async function openSlowLink(port: number, delayMs: number): Promise<SlowLink> {
  const toServer = new LinkDirection(delayMs);
  const toClient = new LinkDirection(delayMs);
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port, host: '127.0.0.1', noDelay: true });
    sockets.add(client).add(upstream);
    toServer.pass(client, upstream);
    toClient.pass(upstream, client);
  });
  const listening = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', listening.resolve);
  await listening.promise;
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('the link is not listening');
  return {
    address: `127.0.0.1:${bound.port}`,
    toServer,
    toClient,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A link that lasts as long as the test. */
export async function slowLink(t: TestContext, port: number, delayMs = 0): Promise<SlowLink> {
  const link = await openSlowLink(port, delayMs);
  t.after(() => link.close());
  return link;
}
