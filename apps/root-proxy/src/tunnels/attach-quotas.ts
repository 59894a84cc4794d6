import { CountQuota, RateQuota } from '@xylem/quota';
import type { RateLimits } from '@xylem/quota';

/** An honest agent attaches once for each life of a root proxy, and a few times more on a bad network. */
const PER_AGENT = { perSecond: 1, burst: 60 } as const;
/** Each attach may cost two writes in the store, which all leaf clusters share. */
const PER_LEAF = { perSecond: 20, burst: 400 } as const;
/** One claimed or standby, one that takes over from it, and replaced ones that still carry connections. */
const TUNNELS_PER_AGENT = 32;
const MAX_KEYS = 20_000;

/** What one agent, and one leaf cluster, may ask of a root proxy. */
export class AttachQuotas {
  readonly #agents = new RateQuota(PER_AGENT, MAX_KEYS);
  readonly #leaves = new RateQuota(PER_LEAF, MAX_KEYS);
  readonly #tunnels = new CountQuota(TUNNELS_PER_AGENT);
  readonly #unasked: RateQuota;

  /** @param unasked Streams of one agent that nobody waits for; an honest agent opens one for each dial that was given up. */
  constructor(unasked: RateLimits) {
    this.#unasked = new RateQuota(unasked, MAX_KEYS);
  }

  /** Takes a place that `left` gives back; when there is none, says why and how long to wait. */
  enter(
    leaf: string,
    agent: string,
    now: number,
  ): { readonly detail: string; readonly retryAfterMs: number } | undefined {
    const name = `${leaf}/${agent}`;
    const own = this.#agents.take(name, now);
    if (own.kind === 'refused') return tooOften(`agent ${name}`, own.retryAfterMs);
    const all = this.#leaves.take(leaf, now);
    if (all.kind === 'refused') return tooOften(`leaf cluster ${leaf}`, all.retryAfterMs);
    if (this.#tunnels.enter(name).kind === 'granted') return undefined;
    return {
      detail: `agent ${name} has ${TUNNELS_PER_AGENT} tunnels here, the most it may have`,
      retryAfterMs: 10_000,
    };
  }

  /** False: more streams than dials that could have been given up. */
  unasked(leaf: string, agent: string, now: number): boolean {
    return this.#unasked.take(`${leaf}/${agent}`, now).kind === 'granted';
  }

  left(leaf: string, agent: string): void {
    this.#tunnels.leave(`${leaf}/${agent}`);
  }
}

function tooOften(who: string, retryAfterMs: number): { readonly detail: string; readonly retryAfterMs: number } {
  return { detail: `${who} attaches too often`, retryAfterMs };
}
