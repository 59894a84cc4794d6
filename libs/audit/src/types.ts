/** What happened. Closed list: docs/OPERATIONS.md explains each. */
export type AuditKind =
  | 'token.added'
  | 'token.removed'
  | 'identity.joined'
  | 'identity.refused'
  | 'identity.renewed'
  | 'identity.locked'
  | 'identity.revoked'
  | 'identity.unlocked'
  | 'user.put'
  | 'user.removed'
  | 'user.login'
  | 'user.login-refused'
  | 'policy.set'
  | 'authority.rotated'
  | 'claim.granted'
  | 'claim.released'
  | 'dial.allowed'
  | 'dial.denied'
  | 'dial.closed'
  | 'request.denied'
  | 'cross-tenant'
  | 'grant.refused'
  | 'gossip.refused';

/** One line, before it gets its place in the chain. No field ever holds a secret: tokens appear by fingerprint only. */
export interface AuditEntry {
  readonly kind: AuditKind;
  /** Who: an identity as in certificates, `anonymous`, or an address when nobody is known. */
  readonly actor: string;
  /** What it was done to: an identity, a target such as `web.berlin:80`, a token's fingerprint. */
  readonly subject: string;
  readonly outcome: 'done' | 'allowed' | 'denied' | 'failed';
  /** More, in short texts and numbers. */
  readonly details?: Readonly<Record<string, string | number | boolean>>;
}

/** Where audit lines go. */
export interface AuditLog {
  /** Never throws and never waits: a line that cannot be written is kept in a bounded ring and an alarm is raised. */
  record(entry: AuditEntry): void;
  /** Resolves when the line is on disk; rejects when it cannot be: for what must not happen unrecorded (joins, administration). */
  commit(entry: AuditEntry): Promise<void>;
  close(): Promise<void>;
}
