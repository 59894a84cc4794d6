import type { LifetimeOptions } from './api.ts';
import type { SessionPeer } from './session-peer.ts';

export const LIFETIME = { graceMs: 30_000, lastWordsMs: 500, refreshIntervalMs: 1_000 } as const;

/** setTimeout overflows above 2^31 - 1. */
export const LONGEST_WAIT_MS = 2 ** 31 - 1;

/** What a session can do about its end. */
export interface EndingSession {
  /** Takes no new streams. */
  retire(detail: string): void;
  /** Ends at once what is still open. */
  destroy(): void;
}

/**
 * Ends one session when the certificate that its peer showed last has been over for the grace, or when asked to. Handlers
 * are told first, and then have a moment for last messages; after an expiry that moment is part of the grace.
 */
export class SessionLife {
  readonly #peer: SessionPeer;
  readonly #session: EndingSession;
  readonly #graceMs: number;
  readonly #lastWordsMs: number;
  #timer: NodeJS.Timeout | undefined;
  #over = false;

  constructor(peer: SessionPeer, session: EndingSession, options: LifetimeOptions = {}) {
    this.#peer = peer;
    this.#session = session;
    this.#graceMs = options.graceMs ?? LIFETIME.graceMs;
    this.#lastWordsMs = options.lastWordsMs ?? LIFETIME.lastWordsMs;
    this.#watch();
  }

  /** Ends the session now. Idempotent. */
  cut(detail: string): void {
    this.#end('cut', detail, this.#lastWordsMs);
  }

  /** Its calls are refused from the beginning; the session goes when the first of them can have been answered. */
  refuse(detail: string): void {
    this.#peer.refusal = detail;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.cut(detail), this.#lastWordsMs);
  }

  /** The session is gone. */
  over(): void {
    this.#over = true;
    clearTimeout(this.#timer);
  }

  /** Looks again when the end could have come: a refresh in the meantime has only moved `validUntil` on. */
  #watch(): void {
    const { validUntil, notAfterMs } = this.#peer;
    if (validUntil === undefined || notAfterMs === undefined) return;
    const wordsMs = Math.min(this.#lastWordsMs, this.#graceMs);
    const remainingMs = validUntil + this.#graceMs - wordsMs - performance.now();
    if (remainingMs <= 0) {
      this.#end(
        'expired',
        `the certificate ended ${new Date(notAfterMs).toISOString()}; no newer one was shown`,
        wordsMs,
      );
      return;
    }
    this.#timer = setTimeout(() => this.#watch(), Math.min(remainingMs, LONGEST_WAIT_MS));
    this.#timer.unref();
  }

  #end(cause: 'expired' | 'cut', detail: string, wordsMs: number): void {
    if (this.#over || this.#peer.ending !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#session.destroy(), wordsMs);
    this.#peer.announce({ cause, detail });
    this.#session.retire(detail);
  }
}
