import type { AuditLog } from '@xylem/audit';
import { IDENTITIES_PREFIX, decodeIdentity, identityKey, revokePlan, unlockPlan } from '@xylem/authority';
import type { IdentityRecord } from '@xylem/authority';
import { parseIdentity } from '@xylem/identity';
import { recorded } from '../access/recorded.ts';
import { AuthorityError } from './problem.ts';
import type { AuthorityStore } from './store.ts';

export interface IdentitiesParts {
  readonly domain: string;
  readonly store: AuthorityStore;
  readonly audit: AuditLog;
  /** Longest life of any certificate: so long revocations are remembered. */
  readonly longestTtlMs: number;
  /** Wall clock. */
  readonly now: () => number;
}

const MAX_ROUNDS = 8;
const MAX_REASON = 200;
/** What ends up in logs, messages and terminals. */
const REASON = /^[\x20-\x7e]*$/;

/** Who has joined, and what an administrator does about it. Rejects with an AuthorityError, a StoreDownError or an AuditError. */
export class Identities {
  readonly #parts: IdentitiesParts;

  constructor(parts: IdentitiesParts) {
    this.#parts = parts;
  }

  /** By name. */
  async list(): Promise<readonly IdentityRecord[]> {
    const all = await this.#parts.store.list(IDENTITIES_PREFIX, decodeIdentity);
    return all.flatMap(({ record }) => record ?? []);
  }

  /** Certificates of this identity count no longer, and it gets no new ones. */
  async revoke(identity: string, reason: string, actor: string): Promise<void> {
    this.#check(identity);
    if (reason.length > MAX_REASON || !REASON.test(reason)) {
      throw new AuthorityError('invalid', `a reason is one line of at most ${MAX_REASON} ASCII characters`, '');
    }
    const { store, audit, now, longestTtlMs } = this.#parts;
    const line = { kind: 'identity.revoked', actor, subject: identity, details: { reason } } as const;
    // First the line: what it says is meant, and a repeat of it does no harm.
    await recorded(audit, line, () =>
      this.#rounds(async () => {
        const read = await store.read(identityKey(identity), decodeIdentity);
        return store.commit(revokePlan(identity, read, reason, now(), longestTtlMs));
      }),
    );
  }

  /** False when it was neither locked nor revoked. */
  async unlock(identity: string, actor: string): Promise<boolean> {
    this.#check(identity);
    const { store, audit, now } = this.#parts;
    const read = await store.read(identityKey(identity), decodeIdentity);
    if (unlockPlan(read, now()) === undefined) return false;
    await recorded(audit, { kind: 'identity.unlocked', actor, subject: identity }, () =>
      this.#rounds(async () => {
        const plan = unlockPlan(await store.read(identityKey(identity), decodeIdentity), now());
        return plan === undefined || store.commit(plan);
      }),
    );
    return true;
  }

  #check(identity: string): void {
    const { domain } = this.#parts;
    const parsed = parseIdentity([`spiffe://${domain}/${identity}`], domain);
    if (parsed.kind !== 'problem') return;
    const remedy = 'write leaf/<leaf>/agent/<agent>, proxy/<name>, registry/<name> or user/<name>';
    throw new AuthorityError('invalid', 'that is no identity', remedy);
  }

  async #rounds(round: () => Promise<boolean>): Promise<true> {
    for (let rounds = 0; rounds < MAX_ROUNDS; rounds += 1) if (await round()) return true;
    throw new AuthorityError('unavailable', 'the records kept changing', 'try again');
  }
}
