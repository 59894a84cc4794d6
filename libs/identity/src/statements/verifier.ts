import { createHash } from 'node:crypto';
import { compactVerify, decodeProtectedHeader } from 'jose';
import * as z from 'zod';
import { BoundedMap } from './bounded-map.ts';
import { CLAIMS } from './claims.ts';
import type { Frame } from './claims.ts';
import { RegistryChains, refused } from './registry-chains.ts';
import {
  CLOCK_TOLERANCE_MS,
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
  RefusedStatement,
  RevokedProxiesStatement,
  StandingGrant,
  StatementKind,
  VerifiedStatement,
} from './types.ts';

export interface VerifierOptions {
  readonly domain: string;
  /** PEM of every root that is trusted now. */
  readonly trust: () => string;
  /** Wall clock, milliseconds since 1970. Default Date.now. */
  readonly now?: () => number;
}

/** What a statement says, apart from whether its signer and its times count now. */
interface Parsed<Content> {
  readonly frame: Frame;
  readonly content: Content;
}

interface Repeated<Content> extends Parsed<Content> {
  readonly chain: readonly string[];
}

interface Kind<Content> {
  readonly name: StatementKind;
  readonly maxLifetimeMs: number;
  readonly parse: (claims: unknown) => Parsed<Content> | undefined;
  /** Those whose signature was good, by digest of the text; undefined where none comes twice. */
  readonly repeated: BoundedMap<string, Repeated<Content>> | undefined;
}

/** One of membership per registry and stamp, one standing grant per root proxy and policy. */
const MAX_REPEATED = 128;
/** Access tokens in use at one root proxy; one that was put out is verified again. */
const MAX_TOKENS = 1_024;
const MS_PER_SECOND = 1_000;

const header = z.strictObject({
  alg: z.literal('ES256'),
  typ: z.string(),
  // Four certificates of 8 KiB in base64: the bounds of verifyChain.
  x5c: z
    .array(
      z
        .string()
        .max(10_924)
        .regex(/^[A-Za-z0-9+/]+={0,2}$/),
    )
    .min(1)
    .max(4),
});

/**
 * Verifies what registries sign: kind, algorithm, the certificates that came along up to a root that is trusted now, that they are
 * a registry's, the signature, every claim, and the times. Never rejects: whatever is wrong refuses the whole statement.
 */
export class StatementVerifier {
  readonly #options: VerifierOptions;
  readonly #chains: RegistryChains;
  readonly #grant: Kind<DialGrant> = {
    name: 'grant',
    maxLifetimeMs: MAX_GRANT_LIFETIME_MS,
    parse: (claims) => CLAIMS.grant.safeParse(claims).data,
    repeated: undefined,
  };
  readonly #standing: Kind<StandingGrant> = {
    name: 'standing',
    maxLifetimeMs: MAX_STANDING_LIFETIME_MS,
    parse: (claims) => CLAIMS.standing.safeParse(claims).data,
    repeated: new BoundedMap(MAX_REPEATED),
  };
  readonly #membership: Kind<MembershipStatement> = {
    name: 'membership',
    maxLifetimeMs: Number.POSITIVE_INFINITY,
    parse: (claims) => CLAIMS.membership.safeParse(claims).data,
    repeated: new BoundedMap(MAX_REPEATED),
  };
  readonly #revoked: Kind<RevokedProxiesStatement> = {
    name: 'revoked',
    maxLifetimeMs: Number.POSITIVE_INFINITY,
    parse: (claims) => CLAIMS.revoked.safeParse(claims).data,
    repeated: new BoundedMap(MAX_REPEATED),
  };

  readonly #access: Kind<AccessToken> = {
    name: 'access',
    maxLifetimeMs: MAX_ACCESS_LIFETIME_MS,
    parse: (claims) => CLAIMS.access.safeParse(claims).data,
    repeated: new BoundedMap(MAX_TOKENS),
  };

  constructor(options: VerifierOptions) {
    this.#options = options;
    this.#chains = new RegistryChains(options.domain);
  }

  grant(text: string): Promise<VerifiedStatement<DialGrant> | RefusedStatement> {
    return this.#verify(this.#grant, text);
  }

  standingGrant(text: string): Promise<VerifiedStatement<StandingGrant> | RefusedStatement> {
    return this.#verify(this.#standing, text);
  }

  membership(text: string): Promise<VerifiedStatement<MembershipStatement> | RefusedStatement> {
    return this.#verify(this.#membership, text);
  }

  revokedProxies(text: string): Promise<VerifiedStatement<RevokedProxiesStatement> | RefusedStatement> {
    return this.#verify(this.#revoked, text);
  }

  /** That the user is neither disabled nor revoked since is for the caller to check: `issuedAtMs` against the revocations. */
  async accessToken(text: string): Promise<VerifiedStatement<AccessToken> | RefusedStatement> {
    const outcome = await this.#verify(this.#access, text);
    if (outcome.kind === 'refused' || outcome.content.domain === this.#options.domain) return outcome;
    return refused('it is for another domain');
  }

  async #verify<Content>(kind: Kind<Content>, text: string): Promise<VerifiedStatement<Content> | RefusedStatement> {
    if (text === '') return refused('there is none');
    if (text.length > MAX_STATEMENT_CHARACTERS) {
      return refused(`its ${text.length} characters are more than ${MAX_STATEMENT_CHARACTERS}`);
    }
    const digest = kind.repeated === undefined ? '' : createHash('sha256').update(text).digest('base64');
    const known = kind.repeated?.get(digest);
    const chain = known?.chain ?? chainOf(text, STATEMENT_TYPE[kind.name]);
    if (typeof chain === 'string') return refused(chain);
    const nowMs = (this.#options.now ?? Date.now)();
    const registry = this.#chains.verify(chain, this.#options.trust(), nowMs);
    if (registry.kind === 'refused') return registry;
    const parsed = known ?? (await signed(text, registry.key, kind.parse));
    if (typeof parsed === 'string') return refused(parsed);
    if (known === undefined) kind.repeated?.set(digest, { ...parsed, chain });
    const flaw = flawOf(parsed.frame, `registry/${registry.registry}`, kind.maxLifetimeMs, nowMs);
    return flaw === undefined ? verified(parsed, registry.registry) : refused(flaw);
  }
}

/** The certificates that came along, or what is wrong with the header. */
function chainOf(text: string, type: string): readonly string[] | string {
  let raw: unknown;
  try {
    raw = decodeProtectedHeader(text);
  } catch {
    return 'it is no compact JWS';
  }
  const { data } = header.safeParse(raw);
  if (data === undefined) return 'its header is not exactly alg ES256, typ and x5c';
  return data.typ === type ? data.x5c : `it is not a ${type}`;
}

/** The claims when the signature is good, else what is wrong. */
async function signed<Content>(
  text: string,
  key: Parameters<typeof compactVerify>[1],
  parse: (claims: unknown) => Parsed<Content> | undefined,
): Promise<Parsed<Content> | string> {
  let claims: unknown;
  try {
    const { payload } = await compactVerify(text, key, { algorithms: ['ES256'] });
    claims = JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch {
    return 'its signature is not that of the certificate in it';
  }
  return parse(claims) ?? 'its claims are not what they have to be';
}

function flawOf({ iss, iat, exp }: Frame, registry: string, maxLifetimeMs: number, nowMs: number): string | undefined {
  if (iss !== registry) return 'its issuer is not the registry that signed it';
  const aheadMs = iat * MS_PER_SECOND - nowMs;
  if (aheadMs > CLOCK_TOLERANCE_MS) return `it was issued ${seconds(aheadMs)} s in the future; check both clocks`;
  if (exp === undefined) return undefined;
  if (exp <= iat || (exp - iat) * MS_PER_SECOND > maxLifetimeMs) return 'it claims a lifetime that none may have';
  const lateMs = nowMs - exp * MS_PER_SECOND;
  return lateMs > CLOCK_TOLERANCE_MS ? `it expired ${seconds(lateMs)} s ago; check the clocks if it is new` : undefined;
}

function verified<Content>({ frame, content }: Parsed<Content>, registry: string): VerifiedStatement<Content> {
  return {
    kind: 'verified',
    content,
    registry,
    issuedAtMs: frame.iat * MS_PER_SECOND,
    expiresAtMs: frame.exp === undefined ? undefined : frame.exp * MS_PER_SECOND,
  };
}

function seconds(ms: number): number {
  return Math.round(ms / MS_PER_SECOND);
}

/** What a text claims to be, unverified; undefined when it is no statement of a kind that is known here. */
export function statementKind(text: string): StatementKind | undefined {
  if (text.length > MAX_STATEMENT_CHARACTERS) return undefined;
  try {
    const { typ } = decodeProtectedHeader(text);
    return KINDS.find((kind) => STATEMENT_TYPE[kind] === typ);
  } catch {
    return undefined;
  }
}

const KINDS: readonly StatementKind[] = ['grant', 'standing', 'membership', 'access', 'revoked'];
