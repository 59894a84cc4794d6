import type { Instant } from '../shared/time.ts';

export interface AdmissionConfig {
  /** Handshakes begun within any one second, at most. A fifth of them may come at once, the rest evenly. */
  readonly handshakesPerSecond: number;
  /** Longest wait in line. Less than an agent's patience with a dial (10 s), and than ours with an unfinished attach (15 s). */
  readonly maxWaitMs: number;
}

export interface AdmissionStatus {
  readonly admittedTotal: number;
  readonly shedTotal: number;
  /** Wait of a connection that would come now. */
  readonly waitMs: number;
}

/** Of the handshakes of one second, those that may come at once. */
const BURST_PART = 0.2;

/**
 * Decides when the TLS handshake of a new tunnel begins, so that a thousand agents which were cut at once do not come back at once:
 * a handshake costs its server a hundred times what reading a ClientHello costs. Each arrival is given its place in
 * line at once, as a wait; when the line is too long it is shed: closed before anything was answered, which an agent takes
 * for a failed dial and backs off from. Nobody is ever owed more than the wait told. Reads no clock.
 */
export class HandshakeAdmission {
  readonly #config: AdmissionConfig;
  readonly #intervalMs: number;
  readonly #burst: number;
  /** When the next handshake would begin if all of them came evenly; in the past: a burst is saved up. */
  #next: Instant;
  #admitted = 0;
  #shed = 0;

  /** Throws RangeError on a bad config. */
  constructor(config: AdmissionConfig, now: Instant) {
    const { handshakesPerSecond, maxWaitMs } = config;
    if (!Number.isFinite(handshakesPerSecond) || handshakesPerSecond < 1)
      throw new RangeError('discovery: handshakesPerSecond must be a number of at least 1');
    if (!Number.isFinite(maxWaitMs) || maxWaitMs < 0)
      throw new RangeError('discovery: maxWaitMs must be a number of at least 0');
    this.#config = config;
    this.#burst = Math.max(1, Math.floor(handshakesPerSecond * BURST_PART));
    // Of b at once and one each interval, at most b + 1000 / interval fall into one second.
    this.#intervalMs = 1_000 / Math.max(1 - BURST_PART, handshakesPerSecond - this.#burst);
    this.#next = now;
  }

  /** Milliseconds until the handshake of a connection that is here now may begin; undefined: shed it. */
  arrive(now: Instant): number | undefined {
    const waitMs = this.#waitMs(now);
    if (waitMs > this.#config.maxWaitMs) {
      this.#shed += 1;
      return undefined;
    }
    this.#next = Math.max(this.#next, now - this.#saved()) + this.#intervalMs;
    this.#admitted += 1;
    return waitMs;
  }

  status(now: Instant): AdmissionStatus {
    return { admittedTotal: this.#admitted, shedTotal: this.#shed, waitMs: this.#waitMs(now) };
  }

  /** How far the line may be behind the clock: what a full burst is worth. */
  #saved(): number {
    return (this.#burst - 1) * this.#intervalMs;
  }

  #waitMs(now: Instant): number {
    return Math.max(0, this.#next - now);
  }
}
