/** What happened. Closed list: docs/OPERATIONS.md explains each. */
export type AuditKind =
  | 'token.added'
  | 'token.removed'
  | 'identity.joined'
  | 'identity.refused'
  | 'identity.renewed'
  | 'identity.locked'
  | 'identity.revoked'
  /** A root proxy ended what a revoked identity had open there. */
  | 'identity.cut'
  | 'identity.unlocked'
  | 'user.put'
  | 'user.removed'
  | 'user.login'
  | 'user.login-refused'
  | 'policy.set'
  | 'authority.rotated'
  /** A registry put back what a restored store had forgotten. */
  | 'authority.restored'
  | 'claim.granted'
  | 'claim.released'
  /** An agent held a claim and did not serve it. */
  | 'claim.revoked'
  | 'dial.allowed'
  | 'dial.denied'
  | 'dial.closed'
  | 'request.denied'
  | 'grant.refused'
  | 'gossip.refused'
  /** Made by the log itself: lines that could not be kept, and a line torn by a crash. */
  | 'log.dropped'
  | 'log.recovered';

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
  /** Never throws and never waits: a line that cannot be written now is kept in a bounded ring, and an alarm is raised. */
  record(entry: AuditEntry): void;
  /**
   * Resolves when the line is on disk; rejects with an AuditError when it cannot be, and then it never will be. For what
   * must not happen unrecorded: joins and administration.
   */
  commit(entry: AuditEntry): Promise<void>;
  /** False while lines cannot be written. */
  readonly healthy: boolean;
  /** Writes what is queued, if it can be written at once, and closes. */
  close(): Promise<void>;
}

/** An audit file cannot be written or read. The message names the file and the remedy. */
export class AuditError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AuditError';
  }
}
