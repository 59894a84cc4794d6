import type { FenceMark, ProxyId } from '@xylem/discovery';

/** What a root proxy said of itself, and which life of its process said so first. */
export interface SeenMark extends FenceMark {
  readonly life: number;
}

const NOTHING: SeenMark = { incarnation: 0n, token: 0n, life: 0 };

/**
 * The greatest incarnation and token that an agent has seen of each root proxy: the truth that its fence is judged by. Kept
 * apart from the fence, and with the number of the process's life, which no real agent knows.
 */
export class MarksSeen {
  readonly #seen = new Map<ProxyId, SeenMark>();
  #epoch = 0n;

  of(proxy: ProxyId): SeenMark {
    return this.#seen.get(proxy) ?? NOTHING;
  }

  see(proxy: ProxyId, mark: SeenMark): void {
    const { incarnation, token } = this.of(proxy);
    const isNew = mark.incarnation > incarnation;
    if (isNew || (mark.incarnation === incarnation && mark.token > token)) {
      this.#seen.set(proxy, isNew ? mark : { ...this.of(proxy), token: mark.token });
    }
  }

  /** An agent that believes in a smaller epoch again, once nobody vouches for the greater, holds nothing of it against anybody. */
  believes(epoch: bigint): void {
    if (epoch < this.#epoch) this.#seen.clear();
    this.#epoch = epoch;
  }
}

/** S3: whether a dial comes from a life or a claim that is over, given what was seen. */
export function isOver(dial: SeenMark, seen: SeenMark): boolean {
  if (dial.incarnation === 0n) return seen.incarnation > 0n && dial.life < seen.life;
  if (dial.incarnation !== seen.incarnation) return dial.incarnation < seen.incarnation;
  return dial.token !== 0n && dial.token < seen.token;
}
