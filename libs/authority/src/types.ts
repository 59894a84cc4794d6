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
}

/** What is kept of an identity that has joined. */
export interface IdentityRecord {
  /** As in certificates: `leaf/berlin/agent/a1`, `proxy/p1`, `registry/r1`, `user/alice`. */
  readonly identity: string;
  /** Rises with each renewal. Whoever renews with an older one holds a copied key. */
  readonly generation: number;
  readonly issuedAtMs: number;
  readonly notAfterMs: number;
  /** Fingerprint of the root that the newest certificate leads to. */
  readonly root: string;
  readonly lock: { readonly kind: 'cloned' | 'revoked'; readonly atMs: number; readonly reason: string } | undefined;
}

/** Where a CA rotation stands; see docs/ARCHITECTURE.md. */
export type RotationPhase = 'steady' | 'prepared' | 'trusted' | 'signing';
