/** Everything about authority lives under this prefix; one watch covers it. */
export const AUTHORITY_PREFIX = '/xylem/authority/v1/';
/** First key after the prefix. */
export const AUTHORITY_PREFIX_END = '/xylem/authority/v10';

export const TRUST_KEY = `${AUTHORITY_PREFIX}trust`;
export const POLICY_KEY = `${AUTHORITY_PREFIX}policy`;
export const TOKENS_PREFIX = `${AUTHORITY_PREFIX}tokens/`;
export const IDENTITIES_PREFIX = `${AUTHORITY_PREFIX}identities/`;
export const REVOCATIONS_PREFIX = `${AUTHORITY_PREFIX}revocations/`;
export const INTERMEDIATES_PREFIX = `${AUTHORITY_PREFIX}intermediates/`;
export const USERS_PREFIX = `${AUTHORITY_PREFIX}users/`;

/** @param hash SHA-256 of the token's secret, lower-case hex. */
export function tokenKey(hash: string): string {
  return `${TOKENS_PREFIX}${hash}`;
}

export function identityKey(identity: string): string {
  return `${IDENTITIES_PREFIX}${identity}`;
}

export function revocationKey(identity: string): string {
  return `${REVOCATIONS_PREFIX}${identity}`;
}

/** @param fingerprint SHA-256 of the certificate's DER, lower-case hex. */
export function intermediateKey(fingerprint: string): string {
  return `${INTERMEDIATES_PREFIX}${fingerprint}`;
}

export function userKey(user: string): string {
  return `${USERS_PREFIX}${user}`;
}

/** First key behind all that start with `prefix`, which ends in `/`. */
export function endOfPrefix(prefix: string): string {
  return `${prefix.slice(0, -1)}0`;
}
