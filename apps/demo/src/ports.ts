import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

const LOOPBACK = '127.0.0.1';
/** Below the ports that the kernel gives to outgoing connections, one of which could come before the service that is to listen. */
const SPARE = { first: 20_000, count: 12_000 };

/**
 * Hands out loopback ports: the preferred one where it is free, else any free one. The ports of one allocator differ,
 * also before their services listen.
 */
export class Ports {
  readonly #taken = new Set<number>();
  readonly #preferDefaults: boolean;

  /** @param preferDefaults false: only free ports, so that two deployments never meet. */
  constructor(preferDefaults: boolean) {
    this.#preferDefaults = preferDefaults;
  }

  /** host:port that nobody listens on now. */
  async address(preferred: number): Promise<string> {
    return `${LOOPBACK}:${await this.#port(preferred)}`;
  }

  async #port(preferred: number): Promise<number> {
    const wanted = this.#preferDefaults && !this.#taken.has(preferred) ? await bindable(preferred) : undefined;
    let port = wanted;
    while (port === undefined || this.#taken.has(port)) port = await bindable(SPARE.first + randomInt(SPARE.count));
    this.#taken.add(port);
    return port;
  }
}

/** The port itself where it can be listened on, else undefined. */
async function bindable(port: number): Promise<number | undefined> {
  const server = createServer();
  try {
    server.listen({ port, host: LOOPBACK, exclusive: true });
    await once(server, 'listening');
    return port;
  } catch {
    return undefined;
  } finally {
    server.close();
  }
}
