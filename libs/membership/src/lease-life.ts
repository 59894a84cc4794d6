import type { LeaseId } from './ids.ts';
import type { Instant } from './time.ts';

export interface LeaseTiming {
  /** How much earlier than the store we take the lease for lapsed. */
  readonly marginMs: number;
  /** A keepalive that was not acknowledged for this long no longer holds back the next. */
  readonly patienceMs: number;
}

/**
 * What may be believed of one lease: it is good until *the send time of the last acknowledged keepalive + TTL - margin*.
 * After that it may be gone and may be not: only the store says, and an acknowledgement never proves that a key exists.
 */
export class LeaseLife {
  readonly id: LeaseId;
  readonly #timing: LeaseTiming;
  #validUntil: Instant;
  #sentAt: Instant | undefined;
  #ttlMs: number;

  /** A lease just granted, asked for at `askedAt`; or one of unknown rest (`ttlMs` 0), good for nothing until acknowledged. */
  constructor(id: LeaseId, timing: LeaseTiming, askedAt: Instant, ttlMs: number) {
    this.id = id;
    this.#timing = timing;
    this.#ttlMs = ttlMs;
    this.#validUntil = ttlMs > 0 ? askedAt + ttlMs - timing.marginMs : askedAt;
  }

  /** As the store granted it; 0 while that is unknown. */
  get ttlMs(): number {
    return this.#ttlMs;
  }

  /** Whether to send a keepalive now; never a second one while one is on its way. */
  shouldSend(now: Instant): boolean {
    return this.#sentAt === undefined || now - this.#sentAt >= this.#timing.patienceMs;
  }

  sent(now: Instant): void {
    this.#sentAt = now;
  }

  acknowledged(sentAt: Instant, ttlMs: number): void {
    if (this.#sentAt !== undefined && sentAt >= this.#sentAt) this.#sentAt = undefined;
    this.#ttlMs = ttlMs;
    this.#validUntil = Math.max(this.#validUntil, sentAt + ttlMs - this.#timing.marginMs);
  }

  remainingMs(now: Instant): number {
    return Math.max(0, this.#validUntil - now);
  }
}
