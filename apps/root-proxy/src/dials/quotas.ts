import { CountQuota, RateQuota } from '@xylem/quota';
import type { QuotaAnswer } from '@xylem/quota';
import type { DialOrder } from './types.ts';

/** What one user, or one leaf cluster, may take of this root proxy. */
export interface DialLimits {
  readonly dialsPerSecond: number;
  readonly dialBurst: number;
  /** Open connections and dials under way. */
  readonly connections: number;
}

export type QuotaAdmission =
  /** `leave` gives the place back, once: when the dial has failed or the connection has ended. */
  { readonly kind: 'granted'; readonly leave: () => void } | { readonly kind: 'refused'; readonly detail: string };

/** Users and addresses that are remembered; see RateQuota. */
const MAX_KEYS = 10_000;

/**
 * Shares this root proxy among those who use it. Users count at the root proxy they come to, anonymous ones by address; leaf
 * clusters count wherever their dials pass, so that one leaf cluster's users leave room for the others'.
 */
export class DialQuotas {
  readonly #users: Share;
  readonly #leaves: Share;

  constructor(limits: { readonly perUser: DialLimits; readonly perLeaf: DialLimits }) {
    this.#users = new Share(limits.perUser);
    this.#leaves = new Share(limits.perLeaf);
  }

  enter(order: DialOrder, now: number): QuotaAdmission {
    const { leaf, hops } = order;
    const places: Place[] = [{ share: this.#leaves, key: `leaf cluster ${leaf}` }];
    if (hops === 0) places.unshift({ share: this.#users, key: dialler(order) });
    const entered: Place[] = [];
    for (const place of places) {
      const refusal = place.share.enter(place.key, now);
      if (refusal === undefined) {
        entered.push(place);
        continue;
      }
      leaveAll(entered);
      return { kind: 'refused', detail: `${place.key} ${refusal}` };
    }
    return { kind: 'granted', leave: () => leaveAll(entered) };
  }
}

interface Place {
  readonly share: Share;
  readonly key: string;
}

function leaveAll(places: readonly Place[]): void {
  for (const { share, key } of places) share.leave(key);
}

class Share {
  readonly #limits: DialLimits;
  readonly #rate: RateQuota;
  readonly #count: CountQuota;

  constructor(limits: DialLimits) {
    this.#limits = limits;
    this.#rate = new RateQuota({ perSecond: limits.dialsPerSecond, burst: limits.dialBurst }, MAX_KEYS);
    this.#count = new CountQuota(limits.connections);
  }

  /** Why not, for a person; undefined when there is room. */
  enter(key: string, now: number): string | undefined {
    if (this.#count.enter(key).kind === 'refused') {
      return `has ${this.#limits.connections} connections open here, the most it may have; close some`;
    }
    const answer: QuotaAnswer = this.#rate.take(key, now);
    if (answer.kind === 'granted') return undefined;
    this.#count.leave(key);
    return `dials more than ${this.#limits.dialsPerSecond} times a second; try again in ${answer.retryAfterMs} ms`;
  }

  leave(key: string): void {
    this.#count.leave(key);
  }
}

/** Whom a dial counts for: its user, or the address of who has no name. */
export function dialler({ user, source }: Pick<DialOrder, 'user' | 'source'>): string {
  return user === '' ? `address ${hostOf(source)}` : `user ${user}`;
}

/** Without the port. */
function hostOf(address: string): string {
  const colon = address.lastIndexOf(':');
  return colon < 0 ? address : address.slice(0, colon);
}
