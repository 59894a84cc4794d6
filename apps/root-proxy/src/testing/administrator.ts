import { createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import { AdminService } from '@xylem/wire';
import { DOMAIN } from './credentials.ts';
import type { World } from './world.ts';

const WAIT_MS = 5_000;

/** The registry's own administrator. */
export class Administrator {
  readonly #channel: GrpcChannel;

  private constructor(channel: GrpcChannel) {
    this.#channel = channel;
  }

  static async of(world: World): Promise<Administrator> {
    const tls = await world.credentials.source({ kind: 'user', user: 'admin@r1' });
    const address = `127.0.0.1:${world.registryPort}`;
    return new Administrator(createChannel({ address, tls, serverName: `registry.${DOMAIN}` }));
  }

  /** Returns when it was asked for, on the clock of performance.now(). */
  async revoke(identity: string): Promise<number> {
    const at = performance.now();
    await this.#channel.unary(AdminService.revoke, { identity, reason: 'key lost' }, WAIT_MS);
    return at;
  }

  close(): void {
    this.#channel.close();
  }
}
