/** What an identity is for; users log in, the others join by token. */
export type JoinRole = 'agent' | 'proxy' | 'registry';

/** What is kept of a join token; the token itself is never kept. */
export interface TokenRecord {
  /** SHA-256 of the secret, lower-case hex. */
  readonly hash: string;
  readonly role: JoinRole;
  /** For agents; empty otherwise. */
  readonly leaf: string;
  /** Only this agent, root proxy or registry; empty for any. */
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number;
  readonly createdBy: string;
  /** CIDR; empty for any. */
  readonly sources: readonly string[];
  /** Kept until the token would have expired, so that the one who used it may ask again for an answer that was lost. */
  readonly used: TokenUse | undefined;
}

export interface TokenUse {
  readonly identity: string;
  /** Fingerprint of the key that it was used with. */
  readonly key: string;
}

/** What is kept of an identity that has joined or logged in. */
export interface IdentityRecord {
  /** As in certificates: `leaf/berlin/agent/a1`, `proxy/p1`, `registry/r1`, `user/alice`. */
  readonly identity: string;
  /** Rises with each certificate for a new key. */
  readonly generation: number;
  /** SHA-256 of the newest certificate's public key. Whoever renews with another one holds a copied key. */
  readonly key: string;
  /** The key before, until its renewal is known to have been heard of; empty after a join. */
  readonly previousKey: string;
  readonly issuedAtMs: number;
  readonly notAfterMs: number;
  /** Fingerprint of the root that the newest certificate leads to. */
  readonly root: string;
  /** Generation of the trust that came with it. */
  readonly trust: number;
  readonly lock: IdentityLock | undefined;
  /** Of users, who may log in at several machines: older logins that are alive and follow an older trust than the newest. */
  readonly earlier?: EarlierLogins | undefined;
}

/** The oldest trust of several logins, and the end of the one that lives longest. */
export interface EarlierLogins {
  readonly root: string;
  readonly trust: number;
  readonly notAfterMs: number;
}

export interface IdentityLock {
  readonly kind: 'cloned' | 'revoked';
  readonly atMs: number;
  readonly reason: string;
}

/** Certificates of the identity issued before `beforeMs` count no longer. */
export interface RevocationRecord {
  readonly identity: string;
  /** Milliseconds since 1970. */
  readonly beforeMs: number;
  readonly reason: string;
}

/** Where a CA rotation stands; see docs/ARCHITECTURE.md. */
export type RotationPhase = 'steady' | 'prepared' | 'trusted' | 'signing';

export interface TrustRoot {
  /** SHA-256 of the certificate's DER, lower-case hex. */
  readonly fingerprint: string;
  readonly pem: string;
  readonly notAfterMs: number;
  readonly state: 'next' | 'active' | 'previous';
}

/** The roots of the domain. */
export interface TrustRecord {
  readonly phase: RotationPhase;
  /** Rises with each change of what is trusted or signs. */
  readonly generation: number;
  /** One, or two during a rotation; exactly one is active. */
  readonly roots: readonly TrustRoot[];
}
