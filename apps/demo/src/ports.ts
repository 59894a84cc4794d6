import { once } from 'node:events';
import { createServer } from 'node:net';
import { freeAddress } from '@xylem/testkit';

const LOOPBACK = '127.0.0.1';

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
    if (this.#preferDefaults && !this.#taken.has(preferred) && (await isFree(preferred))) {
      this.#taken.add(preferred);
      return `${LOOPBACK}:${preferred}`;
    }
    return freeAddress();
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen({ port, host: LOOPBACK, exclusive: true });
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
