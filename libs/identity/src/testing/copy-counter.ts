import type { EnrolmentStandIn } from './enrolment-stand-in.ts';

/** What the registry's record would say of renewals: docs/ARCHITECTURE.md, "Renewal". */
class Record {
  #newest: string;
  #previous = '';

  constructor(key: string) {
    this.#newest = key;
  }

  /** Whether a registry would take the renewal for one with a copied key. */
  isCopied(shown: string, requested: string): boolean {
    const isRepeat = shown === this.#previous && requested === this.#newest;
    if (shown !== this.#newest && !isRepeat) return true;
    if (!isRepeat) [this.#previous, this.#newest] = [this.#newest, requested];
    return false;
  }
}

/** Counts renewals that would be taken for those of a copied key, from the join that was just made on. */
export function countCopies(registry: EnrolmentStandIn): () => number {
  const record = new Record(registry.seen.at(-1)?.requestedKey ?? '');
  let copied = 0;
  let last = registry.seen.length;
  registry.reply = (granted) => {
    for (const { shownKey, requestedKey } of registry.seen.slice(last)) {
      if (record.isCopied(shownKey, requestedKey)) copied += 1;
    }
    last = registry.seen.length;
    return { status: 200, json: granted };
  };
  return () => copied;
}
