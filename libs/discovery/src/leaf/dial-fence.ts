/** What a dial request says of the root proxy that sent it. */
export interface FenceMark {
  /** 0n: the proxy's process has not been registered. */
  readonly incarnation: bigint;
  /** 0n: the claim is provisional. */
  readonly token: bigint;
}

/** When a tunnel came up, among everything that the fence was told. */
export type Admission = number;

interface Known {
  readonly mark: FenceMark;
  /** When the incarnation was first named. */
  readonly since: Admission;
}

/**
 * Refuses what an older life of a root proxy, or an older claim of it, still sends (promise S3). Holds the greatest mark
 * that each proxy named of itself, ordered by incarnation, then token.
 *
 * A token of zero is a provisional claim and never held against a sender: dials go on while no registry can be reached. An
 * incarnation of zero is a process that is not registered, which may be younger or older than any incarnation. What is
 * known of it is when it shook hands: its dials pass until another process with its name names a greater incarnation than
 * all that were known then. So a proxy that restarts while every registry is down serves (L5), and one that was stopped
 * before it could register, and was replaced meanwhile, does not.
 */
export class DialFence {
  readonly #greatest = new Map<string, Known>();
  #order: Admission = 0;
  #epoch = 0n;

  /**
   * Told of the epoch of what the agent believes. Marks carry the epoch in front, so they go on rising in a greater one. An agent
   * that comes to believe in a smaller one, because nobody vouches for the greater any more, judges nobody by it.
   */
  believes(epoch: bigint): void {
    if (epoch < this.#epoch) this.#greatest.clear();
    this.#epoch = epoch;
  }

  /** A tunnel came up, and its welcome names `incarnation`. What it returns goes with each dial over that tunnel. */
  admit(proxy: string, incarnation: bigint): Admission {
    this.raise(proxy, { incarnation, token: 0n });
    this.#order += 1;
    return this.#order;
  }

  /** Raises the fence to what a proxy said of itself. */
  raise(proxy: string, mark: FenceMark): void {
    const known = this.#greatest.get(proxy);
    if (known === undefined || mark.incarnation > known.mark.incarnation) {
      this.#order += 1;
      this.#greatest.set(proxy, { mark, since: this.#order });
    } else if (mark.incarnation === known.mark.incarnation && mark.token > known.mark.token) {
      this.#greatest.set(proxy, { mark, since: known.since });
    }
  }

  /** Checks one dial over a tunnel, and raises the fence to it. Returns what is wrong, or undefined. */
  check(proxy: string, mark: FenceMark, admission: Admission): string | undefined {
    const known = this.#greatest.get(proxy);
    const stale = known === undefined ? undefined : whyStale(mark, known, admission);
    if (stale !== undefined) return `${stale} of root proxy ${proxy} is stale, ${seen(mark, known)} has been seen`;
    this.raise(proxy, mark);
    return undefined;
  }

  /** Forgets every proxy that the pool has forgotten; bounds memory under endless rotation. */
  keepOnly(proxies: ReadonlySet<string>): void {
    for (const proxy of this.#greatest.keys()) if (!proxies.has(proxy)) this.#greatest.delete(proxy);
  }
}

function whyStale(mark: FenceMark, known: Known, admission: Admission): string | undefined {
  const { incarnation, token } = known.mark;
  if (mark.incarnation === 0n) {
    return incarnation > 0n && known.since > admission ? 'an unregistered life' : undefined;
  }
  if (mark.incarnation < incarnation) return `incarnation ${mark.incarnation}`;
  if (mark.incarnation > incarnation || mark.token === 0n || mark.token >= token) return undefined;
  return `fencing token ${mark.token}`;
}

function seen(mark: FenceMark, known: Known | undefined): string {
  if (known === undefined) return 'none';
  return String(mark.incarnation === known.mark.incarnation ? known.mark.token : known.mark.incarnation);
}
