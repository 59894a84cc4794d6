import { X509Certificate, createPrivateKey } from 'node:crypto';
import { CompactSign } from 'jose';
import type { KeyObject } from 'node:crypto';
import { parseIdentity } from '../identity.ts';
import { derOfPem } from '../pem.ts';
import type { TlsMaterial } from '../tls-source.ts';
import { TO_CLAIMS } from './claims.ts';
import { MAX_GRANT_LIFETIME_MS, MAX_STANDING_LIFETIME_MS, MAX_STATEMENT_CHARACTERS, STATEMENT_TYPE } from './types.ts';
import type { DialGrant, MembershipStatement, StandingGrant, StatementKind } from './types.ts';

export interface SignerOptions {
  readonly domain: string;
  /** Credentials of the registry that signs, as they are now. */
  readonly current: () => TlsMaterial;
  /** Wall clock, milliseconds since 1970. Default Date.now. */
  readonly now?: () => number;
}

/** A statement cannot be made. The message is one line for logs. */
export class StatementError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StatementError';
  }
}

interface Signing {
  readonly material: TlsMaterial;
  readonly key: KeyObject;
  readonly issuer: string;
  /** Base64 of DER: the registry's certificate, then its intermediates. */
  readonly chain: readonly string[];
}

const MS_PER_SECOND = 1_000;

/** Signs statements with a registry's own key; its certificates travel along. Every method rejects with a StatementError. */
export class StatementSigner {
  readonly #options: SignerOptions;
  #signing: Signing | undefined;

  constructor(options: SignerOptions) {
    this.#options = options;
  }

  /** @param lifetimeMs At most a minute. */
  async grant(grant: DialGrant, lifetimeMs: number): Promise<string> {
    return this.#sign('grant', TO_CLAIMS.grant(grant), bounded(lifetimeMs, MAX_GRANT_LIFETIME_MS));
  }

  /** @param lifetimeMs At most a day. */
  async standingGrant(grant: StandingGrant, lifetimeMs: number): Promise<string> {
    return this.#sign('standing', TO_CLAIMS.standing(grant), bounded(lifetimeMs, MAX_STANDING_LIFETIME_MS));
  }

  /** Verifies as long as the registry's certificate does: to be made again after a renewal. */
  async membership(statement: MembershipStatement): Promise<string> {
    return this.#sign('membership', TO_CLAIMS.membership(statement), undefined);
  }

  async #sign(kind: StatementKind, claims: object, lifetimeMs: number | undefined): Promise<string> {
    const { key, issuer, chain } = this.#ready();
    const iat = Math.floor((this.#options.now ?? Date.now)() / MS_PER_SECOND);
    const exp = lifetimeMs === undefined ? {} : { exp: iat + Math.max(1, Math.floor(lifetimeMs / MS_PER_SECOND)) };
    const payload = Buffer.from(JSON.stringify({ iss: issuer, iat, ...exp, ...claims }));
    const text = await new CompactSign(payload)
      .setProtectedHeader({ alg: 'ES256', typ: STATEMENT_TYPE[kind], x5c: [...chain] })
      .sign(key);
    if (text.length <= MAX_STATEMENT_CHARACTERS) return text;
    throw new StatementError(
      `a ${STATEMENT_TYPE[kind]} of ${text.length} characters is longer than ${MAX_STATEMENT_CHARACTERS}; use groups and patterns to make the policy shorter`,
    );
  }

  #ready(): Signing {
    const material = this.#options.current();
    if (this.#signing?.material !== material) this.#signing = prepare(material, this.#options.domain);
    return this.#signing;
  }
}

function prepare(material: TlsMaterial, domain: string): Signing {
  const chain = derOfPem(material.cert);
  const [own] = chain;
  const names = own === undefined ? '' : (new X509Certificate(own).subjectAltName ?? '');
  const uris = names.split(', ').flatMap((item) => (item.startsWith('URI:') ? [item.slice('URI:'.length)] : []));
  const identity = parseIdentity(uris, domain);
  if (identity.kind !== 'registry') {
    const detail = identity.kind === 'problem' ? identity.detail : `it is that of a ${identity.kind}`;
    throw new StatementError(`only a registry's certificate signs statements: ${detail}`);
  }
  return {
    material,
    key: createPrivateKey(material.key),
    issuer: `registry/${identity.registry}`,
    chain: chain.map((der) => der.toString('base64')),
  };
}

function bounded(lifetimeMs: number, mostMs: number): number {
  if (lifetimeMs > 0 && lifetimeMs <= mostMs) return lifetimeMs;
  throw new StatementError(`a lifetime of ${lifetimeMs} ms is not between 1 and ${mostMs} ms`);
}
