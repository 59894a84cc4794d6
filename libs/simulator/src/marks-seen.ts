import type { FenceMark, ProxyId } from '@xylem/discovery';

/** What a root proxy said of itself, and which start of its process said so; later starts have greater numbers. */
export interface LifeMark extends FenceMark {
  readonly life: number;
}

export interface SeenMark extends LifeMark {
  /** When the incarnation was first named, in the order of all that the agent heard. */
  readonly order: number;
}

const NOTHING: SeenMark = { incarnation: 0n, token: 0n, life: 0, order: 0 };

/**
 * The greatest incarnation and token that an agent has seen of each root proxy: the truth that its fence is judged by. Kept
 * apart from the fence, and with the number of the process's start, which no real agent knows.
 */
export class MarksSeen {
  readonly #seen = new Map<ProxyId, SeenMark>();
  #epoch = 0n;
  #order = 0;

  of(proxy: ProxyId): SeenMark {
    return this.#seen.get(proxy) ?? NOTHING;
  }

  /** A tunnel came up; returns its place in the order of all that was heard. */
  admit(proxy: ProxyId, mark: LifeMark): number {
    this.see(proxy, mark);
    this.#order += 1;
    return this.#order;
  }

  see(proxy: ProxyId, mark: LifeMark): void {
    const known = this.of(proxy);
    if (mark.incarnation > known.incarnation) {
      this.#order += 1;
      this.#seen.set(proxy, { ...mark, order: this.#order });
    } else if (mark.incarnation === known.incarnation && mark.token > known.token) {
      this.#seen.set(proxy, { ...known, token: mark.token });
    }
  }

  /** An agent that believes in a smaller epoch again, once nobody vouches for the greater, holds nothing of it against anybody. */
  believes(epoch: bigint): void {
    if (epoch < this.#epoch) this.#seen.clear();
    this.#epoch = epoch;
  }
}

/**
 * S3: what has to become of a dial, given what was seen, over a tunnel that came up at `admitted`. A process that is not registered
 * is refused once a later start of its name is; once an earlier one is, both are right, for nobody knows which of the two is to stay.
 */
export function verdictOn(dial: LifeMark, seen: SeenMark, admitted: number): 'serve' | 'refuse' | 'either' {
  if (dial.incarnation === 0n) {
    if (seen.order <= admitted) return 'serve';
    return dial.life < seen.life ? 'refuse' : 'either';
  }
  if (dial.incarnation !== seen.incarnation) return dial.incarnation < seen.incarnation ? 'refuse' : 'serve';
  return dial.token !== 0n && dial.token < seen.token ? 'refuse' : 'serve';
}
