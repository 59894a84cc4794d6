import { createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readOwnUris } from '../chain.ts';
import { parseIdentity } from '../identity.ts';
import { derOfPem } from '../pem.ts';
import type { TlsMaterial } from '../tls-material.ts';
import { TO_CLAIMS } from './claims.ts';
import { compactJws } from './compact.ts';
import {
  MAX_ACCESS_LIFETIME_MS,
  MAX_GRANT_LIFETIME_MS,
  MAX_STANDING_LIFETIME_MS,
  MAX_STATEMENT_CHARACTERS,
  STATEMENT_TYPE,
} from './types.ts';
import type {
  AccessToken,
  DialGrant,
  MembershipStatement,
  RevokedProxiesStatement,
  StandingGrant,
  StatementKind,
} from './types.ts';

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

/**
 * Signs statements with a registry's own key; its certificates travel along. Every method throws a StatementError. Signing does not
 * wait (about 0.1 ms), so that messages which carry statements keep their order.
 */
export class StatementSigner {
  readonly #options: SignerOptions;
  #signing: Signing | undefined;

  constructor(options: SignerOptions) {
    this.#options = options;
  }

  /** @param lifetimeMs At most a minute. */
  grant(grant: DialGrant, lifetimeMs: number): string {
    return this.#sign('grant', TO_CLAIMS.grant(grant), bounded(lifetimeMs, MAX_GRANT_LIFETIME_MS));
  }

  /** @param lifetimeMs At most a day. */
  standingGrant(grant: StandingGrant, lifetimeMs: number): string {
    return this.#sign('standing', TO_CLAIMS.standing(grant), bounded(lifetimeMs, MAX_STANDING_LIFETIME_MS));
  }

  /**
   * Verifies no longer than the registry's certificate does.
   *
   * @param lifetimeMs At most 30 days.
   */
  accessToken(token: AccessToken, lifetimeMs: number): string {
    return this.#sign('access', TO_CLAIMS.access(token), bounded(lifetimeMs, MAX_ACCESS_LIFETIME_MS));
  }

  /** Verifies as long as the registry's certificate does: to be made again after a renewal. */
  membership(statement: MembershipStatement): string {
    return this.#sign('membership', TO_CLAIMS.membership(statement), undefined);
  }

  /** As `membership`. */
  revokedProxies(statement: RevokedProxiesStatement): string {
    return this.#sign('revoked', TO_CLAIMS.revoked(statement), undefined);
  }

  #sign(kind: StatementKind, claims: object, lifetimeMs: number | undefined): string {
    const { key, issuer, chain } = this.#ready();
    const iat = Math.floor((this.#options.now ?? Date.now)() / MS_PER_SECOND);
    const exp = lifetimeMs === undefined ? {} : { exp: iat + Math.max(1, Math.floor(lifetimeMs / MS_PER_SECOND)) };
    const header = { alg: 'ES256', typ: STATEMENT_TYPE[kind], x5c: chain };
    const text = compactJws(header, { iss: issuer, iat, ...exp, ...claims }, key);
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
  const uris = readOwnUris(material.cert);
  const identity = 'kind' in uris ? uris : parseIdentity(uris, domain);
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
