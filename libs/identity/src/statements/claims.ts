import type { Policy } from '@xylem/policy';
import * as z from 'zod';
import { isDomain, isName, isUserName } from '../identity.ts';
import { canonicalPolicy } from '../policy/canonical.ts';
import { readCanonicalPolicy } from '../policy/read-policy.ts';
import { MAX_REVOKED_PROXIES } from './types.ts';
import type { AccessToken, DialGrant, MembershipStatement, RevokedProxiesStatement, StandingGrant } from './types.ts';

/** What every statement says of itself. Times in whole seconds since 1970 (RFC 7519 4.1). */
export interface Frame {
  readonly iss: string;
  readonly iat: number;
  readonly exp?: number | undefined;
}

const MAX_UINT64 = 2n ** 64n - 1n;
const name = z.string().refine(isName);
const seconds = z.int().min(0).max(1e11);
const version = z.int().min(0);
const port = z.int().min(1).max(65_535);
const text = z.string().min(1).max(128);
const uint64 = z
  .string()
  .regex(/^(?:0|[1-9][0-9]{0,19})$/)
  .transform(BigInt)
  .refine((value) => value <= MAX_UINT64);
const issuer = z.string().regex(/^registry\/[a-z0-9-]{1,63}$/);
const prefixed = (prefix: string, isValid: (rest: string) => boolean) =>
  z
    .string()
    .refine((value) => value.startsWith(prefix) && isValid(value.slice(prefix.length)))
    .transform((value) => value.slice(prefix.length));
const audience = prefixed('leaf/', isName);
const timed = { iss: issuer, iat: seconds, exp: seconds };

const ANONYMOUS = 'anonymous';
const subject = z.union([z.literal(ANONYMOUS).transform(() => undefined), prefixed('user/', isUserName)]);

const grantClaims = z
  .strictObject({
    ...timed,
    sub: subject,
    aud: audience,
    agent: name,
    instance: text,
    proxy: name,
    node: name,
    port,
    jti: text,
    pol: version,
  })
  .transform((claims) => ({
    frame: frameOf(claims),
    content: {
      user: claims.sub,
      leaf: claims.aud,
      agent: claims.agent,
      instance: claims.instance,
      proxy: claims.proxy,
      node: claims.node,
      port: claims.port,
      connection: claims.jti,
      policyVersion: claims.pol,
    } satisfies DialGrant,
  }));

const canonical = z.string().transform((value, context): Policy => {
  const read = readCanonicalPolicy(value);
  if (read !== undefined) return read;
  context.addIssue({ code: 'custom', message: 'no canonical policy' });
  return z.NEVER;
});

const standingClaims = z
  .strictObject({ ...timed, aud: audience, proxy: name, pol: version, policy: canonical })
  .transform((claims) => ({
    frame: frameOf(claims),
    content: {
      leaf: claims.aud,
      proxy: claims.proxy,
      policyVersion: claims.pol,
      policy: claims.policy,
    } satisfies StandingGrant,
  }));

const membershipClaims = z
  .strictObject({
    iss: issuer,
    iat: seconds,
    epoch: uint64,
    revision: uint64,
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
  })
  .transform((claims) => ({
    frame: frameOf({ ...claims, exp: undefined }),
    content: { epoch: claims.epoch, revision: claims.revision, sha256: claims.sha256 } satisfies MembershipStatement,
  }));

const revokedClaims = z
  .strictObject({
    iss: issuer,
    iat: seconds,
    epoch: uint64,
    revision: uint64,
    proxies: z.array(z.tuple([name, z.int().min(0)])).max(MAX_REVOKED_PROXIES),
  })
  .transform((claims) => ({
    frame: frameOf({ ...claims, exp: undefined }),
    content: {
      epoch: claims.epoch,
      revision: claims.revision,
      proxies: new Map(claims.proxies),
    } satisfies RevokedProxiesStatement,
  }));

const accessClaims = z
  .strictObject({ ...timed, sub: prefixed('user/', isUserName), aud: z.string().refine(isDomain), jti: text })
  .transform((claims) => ({
    frame: frameOf(claims),
    content: { user: claims.sub, domain: claims.aud, login: claims.jti } satisfies AccessToken,
  }));

/** From claims to content. Strict: a claim that is missing, malformed or not known refuses the whole. */
export const CLAIMS = {
  grant: grantClaims,
  standing: standingClaims,
  membership: membershipClaims,
  access: accessClaims,
  revoked: revokedClaims,
} as const;

/** From content to claims. */
export const TO_CLAIMS = {
  grant: (grant: DialGrant) => ({
    sub: grant.user === undefined ? ANONYMOUS : `user/${grant.user}`,
    aud: `leaf/${grant.leaf}`,
    agent: grant.agent,
    instance: grant.instance,
    proxy: grant.proxy,
    node: grant.node,
    port: grant.port,
    jti: grant.connection,
    pol: grant.policyVersion,
  }),
  standing: ({ leaf, proxy, policyVersion, policy }: StandingGrant) => ({
    aud: `leaf/${leaf}`,
    proxy,
    pol: policyVersion,
    policy: canonicalPolicy(policy),
  }),
  membership: ({ epoch, revision, sha256 }: MembershipStatement) => ({
    epoch: epoch.toString(),
    revision: revision.toString(),
    sha256,
  }),
  revoked: ({ epoch, revision, proxies }: RevokedProxiesStatement) => ({
    epoch: epoch.toString(),
    revision: revision.toString(),
    proxies: [...proxies].sort(([a], [b]) => (a < b ? -1 : 1)),
  }),
  access: ({ user, domain, login }: AccessToken) => ({ sub: `user/${user}`, aud: domain, jti: login }),
} as const;

function frameOf({ iss, iat, exp }: Frame): Frame {
  return { iss, iat, exp };
}
