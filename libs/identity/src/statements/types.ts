import type { Policy } from '@xylem/policy';

/** JWS header `typ` of each kind of statement: a statement of one kind is never taken for another. */
export const STATEMENT_TYPE = {
  grant: 'xylem-grant+jwt',
  standing: 'xylem-standing-grant+jwt',
  membership: 'xylem-membership+jwt',
  access: 'xylem-access+jwt',
  revoked: 'xylem-revoked-proxies+jwt',
} as const;

export type StatementKind = keyof typeof STATEMENT_TYPE;

/** A grant lives this long at most, whatever its signer says. */
export const MAX_GRANT_LIFETIME_MS = 60_000;
/** The same for standing grants. */
export const MAX_STANDING_LIFETIME_MS = 24 * 3_600_000;
/** The same for access tokens: as long as a user's certificate may live. */
export const MAX_ACCESS_LIFETIME_MS = 30 * 24 * 3_600_000;
/**
 * How far the clocks of signer and verifier may be apart: every statement counts this much earlier and longer. Devices at the edge
 * have no better clocks; one that is further off is told so. Replays within that time are found by other means.
 */
export const CLOCK_TOLERANCE_MS = 60_000;
/** Longest statement that is made or read, in characters: with the largest policy it fits into one control message. */
export const MAX_STATEMENT_CHARACTERS = 48 * 1_024;

/** A registry's leave for one dial. */
export interface DialGrant {
  /** undefined: anonymous. */
  readonly user: string | undefined;
  readonly leaf: string;
  /** The agent whose tunnel carries the dial, and the nonce of its process: a grant outlives no restart. */
  readonly agent: string;
  readonly instance: string;
  /** The root proxy at the other end of that tunnel. */
  readonly proxy: string;
  readonly node: string;
  readonly port: number;
  /** Names the connection on the tunnel. */
  readonly connection: string;
  readonly policyVersion: number;
}

/** What a root proxy may show to the agents of one leaf cluster while no registry answers. */
export interface StandingGrant {
  readonly leaf: string;
  readonly proxy: string;
  readonly policyVersion: number;
  /** The part of the policy that concerns the leaf cluster, groups complete. */
  readonly policy: Policy;
}

/** What a registry tells agents about membership. */
export interface MembershipStatement {
  readonly epoch: bigint;
  readonly revision: bigint;
  /** Of the member list in its canonical form (docs/PROTOCOL.md), lower-case hex. */
  readonly sha256: string;
}

/** Root proxies that one statement tells of: with the longest names it stays within its length. */
export const MAX_REVOKED_PROXIES = 256;

/** What a registry tells agents about root proxies that were revoked: all of them, as of a stamp. */
export interface RevokedProxiesStatement {
  readonly epoch: bigint;
  readonly revision: bigint;
  /** By name: certificates issued before that moment count no longer, milliseconds since 1970. At most MAX_REVOKED_PROXIES. */
  readonly proxies: ReadonlyMap<string, number>;
}

/**
 * A login, for tools that cannot show a certificate. Says who somebody is and nothing of what they may do: groups are
 * those of the registry's records at the moment of each decision.
 */
export interface AccessToken {
  readonly user: string;
  readonly domain: string;
  /** Random; names the login in audit lines. */
  readonly login: string;
}

/** A statement that was verified. */
export interface VerifiedStatement<Content> {
  readonly kind: 'verified';
  readonly content: Content;
  /** The registry that signed. */
  readonly registry: string;
  /** Milliseconds since 1970, by the signer's clock. */
  readonly issuedAtMs: number;
  /** The same; undefined for membership and revoked root proxies, which newer stamps end. */
  readonly expiresAtMs: number | undefined;
}

/** Why a statement says nothing. One line that is safe to log. */
export interface RefusedStatement {
  readonly kind: 'refused';
  readonly detail: string;
}
