import { createAuthority, memoryTlsSource } from '@xylem/identity';
import type { Authority, Identity } from '@xylem/identity';
import type { TlsSource } from '@xylem/grpc';

const HOUR_MS = 3_600_000;
export const DOMAIN = 'xylem.internal';

/** One authority and the credentials it gives out, for a test file. */
export class Credentials {
  readonly authority: Authority;

  private constructor(authority: Authority) {
    this.authority = authority;
  }

  static async create(): Promise<Credentials> {
    return new Credentials(await createAuthority({ domain: DOMAIN }));
  }

  async material(identity: Identity): Promise<{ readonly ca: string; readonly cert: string; readonly key: string }> {
    const { ca, cert, key } = await this.authority.issue(identity, HOUR_MS);
    return { ca, cert, key: key.reveal() };
  }

  async source(identity: Identity): Promise<TlsSource> {
    return memoryTlsSource(await this.material(identity));
  }
}
