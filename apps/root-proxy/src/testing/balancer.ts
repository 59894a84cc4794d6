import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';

/** Which backend the n-th connection goes to. */
export type Policy = (connection: number, backends: readonly number[]) => number | undefined;

export const roundRobin: Policy = (connection, backends) => backends[connection % backends.length];
/** The worst there is: always the same one. */
export const firstOnly: Policy = (_connection, backends) => backends[0];

/** A TCP load balancer between loopback ports. */
export class Balancer {
  /** Ports of the root proxies; a test changes it at will. */
  backends: number[] = [];
  policy: Policy;
  connections = 0;
  readonly #server: Server;
  readonly #open = new Set<Socket>();

  constructor(policy: Policy) {
    this.policy = policy;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#forward(client));
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  close(): void {
    this.#server.close();
    this.cutAll();
  }

  /** Ends every connection, without a word. */
  cutAll(): void {
    for (const socket of [...this.#open]) socket.resetAndDestroy();
  }

  #forward(client: Socket): void {
    const port = this.policy(this.connections, this.backends);
    this.connections += 1;
    if (port === undefined) {
      client.destroy();
      return;
    }
    const backend = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    this.#join(client, backend);
    this.#join(backend, client);
  }

  #join(from: Socket, to: Socket): void {
    this.#open.add(from);
    from.on('error', () => undefined);
    from.once('close', () => {
      this.#open.delete(from);
      if (from.errored !== null || !from.readableEnded) to.resetAndDestroy();
    });
    from.pipe(to);
  }
}
