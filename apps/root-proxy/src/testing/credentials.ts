import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createAuthority, derOfPem, describeIdentity, memoryTlsSource } from '@xylem/identity';
import type { Authority, Identity, TlsFiles, TlsMaterial, TlsSource } from '@xylem/identity';

const HOUR_MS = 3_600_000;
export const DOMAIN = 'xylem.internal';

/** One authority and the credentials it gives out. */
export class Credentials {
  readonly authority: Authority;
  /** Of what is issued from now on. */
  ttlMs = HOUR_MS;

  private constructor(authority: Authority) {
    this.authority = authority;
  }

  static async create(): Promise<Credentials> {
    return new Credentials(await createAuthority({ domain: DOMAIN }));
  }

  async material(identity: Identity): Promise<TlsMaterial> {
    const { ca, cert, key } = await this.authority.issue(identity, this.ttlMs);
    return { ca, cert, key: key.reveal() };
  }

  /** DER of a new certificate and its intermediates. */
  async chain(identity: Identity): Promise<readonly Uint8Array[]> {
    return derOfPem((await this.material(identity)).cert);
  }

  async source(identity: Identity): Promise<TlsSource> {
    return memoryTlsSource(await this.material(identity));
  }

  /** Writes PEM files below `folder`. */
  async files(identity: Identity, folder: string): Promise<TlsFiles> {
    const own = join(folder, describeIdentity(identity).replaceAll(/[^a-z0-9]/g, '-'));
    mkdirSync(own, { recursive: true });
    const material = await this.material(identity);
    const files = { ca: join(own, 'ca.pem'), cert: join(own, 'cert.pem'), key: join(own, 'key.pem') };
    for (const part of ['ca', 'cert', 'key'] as const) writeFileSync(files[part], material[part], { mode: 0o600 });
    return files;
  }
}
