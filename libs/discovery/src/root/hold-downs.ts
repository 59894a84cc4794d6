import type { Instant } from '../shared/time.ts';

/** All times in milliseconds. */
export interface HoldDownConfig {
  /** How long an agent that did not serve its claim gets none at this root proxy: the first time, doubled each time up to the greatest. */
  readonly minMs: number;
  readonly maxMs: number;
  /** An agent is a suspect for this long after: others come first, and it is asked at once when it holds a claim again. */
  readonly memoryMs: number;
  /** Agents remembered; the one found out longest ago is forgotten first. */
  readonly maxAgents: number;
}

/** 60 s is also the longest wait that agents take from a root proxy. */
export const DEFAULT_HOLD_DOWNS: HoldDownConfig = {
  minMs: 5_000,
  maxMs: 60_000,
  memoryMs: 600_000,
  maxAgents: 4_096,
};

interface Strike {
  readonly count: number;
  readonly heldUntil: Instant;
  readonly forgetAt: Instant;
}

/** Which agents held a claim and did not serve it. */
export class HoldDowns {
  readonly #config: HoldDownConfig;
  /** In the order of the last strike. */
  readonly #strikes = new Map<string, Strike>();

  constructor(config: HoldDownConfig) {
    this.#config = config;
  }

  get size(): number {
    return this.#strikes.size;
  }

  /** The agent did not serve. Returns for how long it is held down. */
  strike(agent: string, now: Instant): number {
    const { minMs, maxMs, memoryMs, maxAgents } = this.#config;
    const count = (this.#recent(agent, now)?.count ?? 0) + 1;
    const heldMs = Math.min(maxMs, minMs * 2 ** Math.min(count - 1, 30));
    this.#strikes.delete(agent);
    this.#strikes.set(agent, { count, heldUntil: now + heldMs, forgetAt: now + heldMs + memoryMs });
    for (const [oldest, { forgetAt }] of this.#strikes) {
      if (forgetAt > now && this.#strikes.size <= maxAgents) break;
      this.#strikes.delete(oldest);
    }
    return heldMs;
  }

  /** Milliseconds until the agent may hold a claim again; 0 when it may. */
  heldMs(agent: string, now: Instant): number {
    return Math.max(0, (this.#recent(agent, now)?.heldUntil ?? now) - now);
  }

  isSuspect(agent: string, now: Instant): boolean {
    return this.#recent(agent, now) !== undefined;
  }

  #recent(agent: string, now: Instant): Strike | undefined {
    const strike = this.#strikes.get(agent);
    return strike === undefined || strike.forgetAt <= now ? undefined : strike;
  }
}
