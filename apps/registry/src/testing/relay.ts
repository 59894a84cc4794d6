import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import type { TestContext } from 'node:test';

/** A TCP relay that can cut everything that runs through it. */
export interface Relay {
  readonly endpoint: string;
  /** Connections made so far. */
  readonly connections: () => number;
  /** Breaks what is open and refuses what comes, until `mend`. */
  cut(): void;
  mend(): void;
  /** Breaks what is open; new connections go through. */
  breakOpen(): void;
}

/** A relay to host:port, closed after the test. */
export async function startRelay(t: TestContext, target: string): Promise<Relay> {
  const [host = '', port = ''] = target.split(':');
  const sockets = new Set<Socket>();
  let cut = false;
  let connections = 0;
  const server = createServer((client) => {
    if (cut) return void client.destroy();
    connections += 1;
    const upstream = connect(Number(port), host);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the relay has no port');
  const breakOpen = (): void => {
    for (const socket of [...sockets]) socket.destroy();
  };
  t.after(() => {
    server.close();
    breakOpen();
  });
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    connections: () => connections,
    cut() {
      cut = true;
      breakOpen();
    },
    mend() {
      cut = false;
    },
    breakOpen,
  };
}
