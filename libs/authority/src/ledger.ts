import { IDENTITIES_PREFIX, REVOCATIONS_PREFIX, TOKENS_PREFIX, TRUST_KEY, USERS_PREFIX } from './keys.ts';
import { decodeIdentity, decodeRevocation, decodeToken, decodeTrust } from './records.ts';

/** A record as it lay in the store. */
export interface LedgerEntry {
  readonly key: string;
  readonly value: string;
  /** When it stops to matter, milliseconds since 1970; undefined: when it is undone. */
  readonly untilMs: number | undefined;
}

/**
 * What has happened and stays so, whatever a store says that was restored from an older backup: the generation of the trust that
 * was reached, certificates that were taken back, identities that were locked, tokens that were used, users that were disabled.
 * Everything else in the store may go back with it.
 */
export class Ledger {
  readonly #entries = new Map<string, LedgerEntry>();
  readonly #keepMs: number;

  /**
   * @param keepMs Longest life of a certificate: a revocation matters for so long.
   * @param entries What was known before.
   */
  constructor(keepMs: number, entries: readonly LedgerEntry[] = []) {
    this.#keepMs = keepMs;
    for (const entry of entries) this.#entries.set(entry.key, entry);
  }

  /**
   * Takes note of a record that was put, or seen to be deleted (undefined). What is older than what is known is no news.
   *
   * @returns Whether what is known has changed.
   */
  note(key: string, value: string | undefined): boolean {
    const known = this.#entries.get(key);
    // Nobody deletes what is trusted; the others end by their lease, or by somebody's hand while everybody looks on.
    if (value === undefined) return key === TRUST_KEY ? false : this.#entries.delete(key);
    if (known?.value === value || (known !== undefined && outranks(known, value))) return false;
    const entry = this.#entryOf(key, value);
    if (entry === undefined) return this.#entries.delete(key);
    this.#entries.set(key, entry);
    return true;
  }

  /** What is known to have happened under this key, when `found` (undefined: nothing is there) is from before it. */
  contradicted(key: string, found: string | undefined, nowMs: number): LedgerEntry | undefined {
    const known = this.#entries.get(key);
    if (known === undefined || isOver(known, nowMs)) return undefined;
    return outranks(known, found) ? known : undefined;
  }

  /** What everything that is in the store contradicts, by key. */
  lost(found: ReadonlyMap<string, string>, nowMs: number): readonly LedgerEntry[] {
    return this.entries(nowMs).filter((entry) => outranks(entry, found.get(entry.key)));
  }

  /** What is known and matters still, by key. */
  entries(nowMs: number): readonly LedgerEntry[] {
    for (const [key, entry] of this.#entries) if (isOver(entry, nowMs)) this.#entries.delete(key);
    return [...this.#entries.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  #entryOf(key: string, value: string): LedgerEntry | undefined {
    if (key === TRUST_KEY) return decodeTrust(value) === undefined ? undefined : { key, value, untilMs: undefined };
    if (key.startsWith(REVOCATIONS_PREFIX)) {
      const record = decodeRevocation(value);
      return record === undefined ? undefined : { key, value, untilMs: record.beforeMs + this.#keepMs };
    }
    if (key.startsWith(TOKENS_PREFIX)) {
      const record = decodeToken(value);
      return record?.used === undefined ? undefined : { key, value, untilMs: record.expiresAtMs };
    }
    if (key.startsWith(IDENTITIES_PREFIX)) {
      return decodeIdentity(value)?.lock === undefined ? undefined : { key, value, untilMs: undefined };
    }
    if (key.startsWith(USERS_PREFIX)) {
      return decodeDisabled(value)?.disabled === true ? { key, value, untilMs: undefined } : undefined;
    }
    return undefined;
  }
}

function isOver({ untilMs }: LedgerEntry, nowMs: number): boolean {
  return untilMs !== undefined && untilMs <= nowMs;
}

/** Whether what is known happened after `found`; a record that cannot be read is for a person to look at. */
function outranks({ key, value }: LedgerEntry, found: string | undefined): boolean {
  if (found === value) return false;
  if (key === TRUST_KEY) return trustOutranks(value, found);
  if (key.startsWith(REVOCATIONS_PREFIX)) return revocationOutranks(value, found);
  if (key.startsWith(TOKENS_PREFIX)) return found !== undefined && decodeToken(found)?.used === undefined;
  if (key.startsWith(IDENTITIES_PREFIX)) return lockOutranks(value, found);
  return disabledOutranks(value, found);
}

function trustOutranks(value: string, found: string | undefined): boolean {
  if (found === undefined) return true;
  const [known, other] = [decodeTrust(value), decodeTrust(found)];
  return known !== undefined && other !== undefined && known.generation > other.generation;
}

function revocationOutranks(value: string, found: string | undefined): boolean {
  if (found === undefined) return true;
  const [known, other] = [decodeRevocation(value), decodeRevocation(found)];
  return known !== undefined && other !== undefined && known.beforeMs > other.beforeMs;
}

/** Whoever unlocks leaves no key behind, and who joins afterwards has a certificate from after the lock. */
function lockOutranks(value: string, found: string | undefined): boolean {
  if (found === undefined) return true;
  const [known, other] = [decodeIdentity(value), decodeIdentity(found)];
  if (known?.lock === undefined || other === undefined || other.lock !== undefined) return false;
  return other.key !== '' && other.issuedAtMs < known.lock.atMs;
}

/** A user that is not there can do nothing. */
function disabledOutranks(value: string, found: string | undefined): boolean {
  const [known, other] = [decodeDisabled(value), found === undefined ? undefined : decodeDisabled(found)];
  return known !== undefined && other !== undefined && !other.disabled && other.changedAtMs < known.changedAtMs;
}

/** As much of a user's record as matters here. */
function decodeDisabled(value: string): { readonly disabled: boolean; readonly changedAtMs: number } | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null || !('disabled' in parsed) || !('changedAtMs' in parsed)) {
    return undefined;
  }
  const { disabled, changedAtMs } = parsed;
  return typeof disabled === 'boolean' && typeof changedAtMs === 'number' ? { disabled, changedAtMs } : undefined;
}
