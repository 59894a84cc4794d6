import { randomBytes } from 'node:crypto';
import { StatementSigner } from '@xylem/identity';
import type { CertificateIssuer, Secret, TlsMaterial } from '@xylem/identity';
import { Secret as SecretValue } from '@xylem/identity';

export interface AccessTokenOptions {
  readonly domain: string;
  readonly registry: string;
  /** As it is now: it changes when the authority's keys do. */
  readonly issuer: () => CertificateIssuer;
  readonly lifetimeMs: number;
  /** Wall clock. */
  readonly now: () => number;
}

/** An access token and its end, milliseconds since 1970. */
export interface IssuedToken {
  readonly token: Secret<string>;
  readonly notAfterMs: number;
}

interface SigningKey {
  readonly signer: StatementSigner;
  readonly issuer: CertificateIssuer;
  readonly notAfterMs: number;
}

/** A key signs for so many lifetimes of a token, less the last one. */
const LIFETIMES = 2;

/**
 * Gives out access tokens. They are verified with the certificate that comes along, and they live longer than a registry's own
 * certificate does; so they are signed with a key of their own, kept in memory, whose certificate outlives each of them.
 */
export class AccessTokens {
  readonly #options: AccessTokenOptions;
  #key: SigningKey | undefined;

  constructor(options: AccessTokenOptions) {
    this.#options = options;
  }

  async issue(user: string): Promise<IssuedToken> {
    const { domain, lifetimeMs, now } = this.#options;
    const key = await this.#currentKey();
    const endMs = Math.min(now() + lifetimeMs, key.notAfterMs);
    const login = randomBytes(16).toString('hex');
    const token = key.signer.accessToken({ user, domain, login }, endMs - now());
    return { token: new SecretValue(token), notAfterMs: endMs };
  }

  async #currentKey(): Promise<SigningKey> {
    const { domain, registry, issuer, lifetimeMs, now } = this.#options;
    const using = issuer();
    if (this.#key?.issuer === using && this.#key.notAfterMs - now() >= lifetimeMs) return this.#key;
    const issued = await using.issue({ kind: 'registry', registry }, LIFETIMES * lifetimeMs);
    const material: TlsMaterial = { ca: issued.ca, cert: issued.cert, key: issued.key.reveal() };
    const signer = new StatementSigner({ domain, current: () => material, now });
    this.#key = { signer, issuer: using, notAfterMs: issued.notAfterMs };
    return this.#key;
  }
}
