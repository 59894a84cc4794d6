import type { RevocationRecord } from './types.ts';

/**
 * Which certificates count no longer, as the registry told last. Kept while no registry answers. Performs no I/O and
 * reads no clock: what counts is when a certificate was issued, against when its identity was revoked.
 */
export class Revocations {
  #revision = -1n;
  #records: ReadonlyMap<string, RevocationRecord> = new Map();

  /**
   * Takes over the whole list as of `revision`; an older one changes nothing. What bounds it is the message that it comes in: one that
   * is left out would be somebody who is let in.
   *
   * @returns What is new in it, in the order of identities: whatever those have open now has to go.
   */
  replace(revision: bigint, records: readonly RevocationRecord[]): readonly RevocationRecord[] {
    if (revision < this.#revision) return [];
    const before = this.#records;
    this.#revision = revision;
    this.#records = new Map(records.map((record) => [record.identity, record]));
    return [...this.#records.values()]
      .filter(({ identity, beforeMs }) => beforeMs > (before.get(identity)?.beforeMs ?? -1))
      .sort((a, b) => (a.identity < b.identity ? -1 : 1));
  }

  /** Why a certificate of `identity` that was issued at `issuedAtMs` does not count; undefined when it does. */
  find(identity: string, issuedAtMs: number): RevocationRecord | undefined {
    const record = this.#records.get(identity);
    return record !== undefined && issuedAtMs < record.beforeMs ? record : undefined;
  }

  get size(): number {
    return this.#records.size;
  }
}
