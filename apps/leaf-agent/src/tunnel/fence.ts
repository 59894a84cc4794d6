/** What a dial request says of the root proxy that sent it. */
export interface FenceMark {
  /** 0n: the proxy has never been registered. */
  readonly incarnation: bigint;
  /** 0n: the claim is provisional. */
  readonly token: bigint;
}

/**
 * Refuses what an older life of a root proxy, or an older claim of it, still sends (FAULTS.md S3). Holds the greatest
 * mark seen of each proxy, ordered by incarnation, then token. Zero means "not known yet" and is never held against a
 * sender: dials go on while no registry can be reached. A new store epoch voids all marks, because revisions may have
 * gone back with it.
 */
export class Fence {
  readonly #greatest = new Map<string, FenceMark>();
  #epoch = 0n;

  /** Told of every stamp's epoch. */
  epochSeen(epoch: bigint): void {
    if (epoch <= this.#epoch) return;
    this.#epoch = epoch;
    this.#greatest.clear();
  }

  /** Raises the fence to what a proxy said of itself in its welcome or claim. */
  raise(proxy: string, mark: FenceMark): void {
    const known = this.#greatest.get(proxy);
    if (known === undefined || mark.incarnation > known.incarnation) {
      this.#greatest.set(proxy, mark);
    } else if (mark.incarnation === known.incarnation && mark.token > known.token) {
      this.#greatest.set(proxy, mark);
    }
  }

  /** Checks one dial and raises the fence to it. Returns what is wrong, or undefined. */
  check(proxy: string, mark: FenceMark): string | undefined {
    const known = this.#greatest.get(proxy);
    if (known !== undefined && mark.incarnation !== 0n) {
      if (mark.incarnation < known.incarnation) {
        return `incarnation ${mark.incarnation} of root proxy ${proxy} is stale, ${known.incarnation} has been seen`;
      }
      if (mark.incarnation === known.incarnation && mark.token !== 0n && mark.token < known.token) {
        return `fencing token ${mark.token} of root proxy ${proxy} is stale, ${known.token} has been seen`;
      }
    }
    this.raise(proxy, mark);
    return undefined;
  }

  /** Forgets every proxy that the pool has forgotten; bounds memory under endless rotation. */
  keepOnly(proxies: ReadonlySet<string>): void {
    for (const proxy of this.#greatest.keys()) if (!proxies.has(proxy)) this.#greatest.delete(proxy);
  }
}
