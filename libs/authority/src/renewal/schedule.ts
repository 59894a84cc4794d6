import type { Instant, Random } from '../time.ts';
import { DEFAULT_RENEWAL_CONFIG } from './types.ts';
import type { RenewalConfig, RenewalEffect, RenewalEvent, RenewalState, RenewalStatus } from './types.ts';

/** Share of the lifetime after which a missing renewal is an alarm. */
const ALARM_SHARE = 2 / 3;
/** Bound on every pause, as a share of the lifetime: certificates of a minute are not retried every half minute. */
const PAUSE_SHARE = 1 / 10;

interface Held {
  readonly lifetimeMs: number;
  readonly takenAt: Instant;
  alarmAt: Instant;
  expiresAt: Instant;
}

/**
 * Decides when the certificate in use is renewed: at half life with jitter, again and again after a failure, earlier when
 * advised; when that has become an alarm; and when the certificate is over. Performs no I/O and reads no clock: the shell
 * translates the certificate's end, which is on the wall clock, into spans.
 */
export class RenewalSchedule {
  readonly #config: RenewalConfig;
  readonly #random: Random;
  readonly #effects: RenewalEffect[] = [];
  #now: Instant;
  #state: RenewalState = 'idle';
  #held: Held | undefined;
  #attemptAt: Instant | undefined;
  #attempts = 0;
  #failures = 0;
  #alarmed = false;
  #advised = false;
  #detail = '';

  constructor(config: Partial<RenewalConfig>, random: Random, now: Instant) {
    this.#config = { ...DEFAULT_RENEWAL_CONFIG, ...config };
    this.#random = random;
    this.#now = now;
  }

  /** The only mutator; `now` never goes backwards. */
  handle(event: RenewalEvent, now: Instant): void {
    if (now < this.#now) throw new Error('bug in authority: time went backwards');
    this.#now = now;
    switch (event.type) {
      case 'certificateTaken':
        this.#taken(event.lifetimeMs, event.remainingMs);
        break;
      case 'renewalFailed':
        this.#failed(event.detail, event.retryAfterMs ?? 0);
        break;
      case 'renewalRefused':
        this.#refused(event.detail);
        break;
      case 'renewalAdvised':
        this.#hurry();
        break;
      case 'clockSet':
        this.#clockSet(event.remainingMs);
        break;
      case 'timeout':
        break;
    }
    this.#passTime();
  }

  /** Drain to undefined after every `handle`. */
  pollEffect(): RenewalEffect | undefined {
    return this.#effects.shift();
  }

  /** When `timeout` is due. */
  nextTimeout(): Instant | undefined {
    const held = this.#held;
    if (held === undefined || this.#state === 'expired') return undefined;
    const due = [held.expiresAt];
    if (!this.#alarmed) due.push(held.alarmAt);
    if (this.#attemptAt !== undefined) due.push(this.#attemptAt);
    return Math.min(...due);
  }

  status(): RenewalStatus {
    const held = this.#held;
    return {
      state: this.#state,
      remainingMs: held === undefined ? 0 : Math.max(0, held.expiresAt - this.#now),
      nextAttemptMs: this.#attemptAt === undefined ? undefined : Math.max(0, this.#attemptAt - this.#now),
      failures: this.#failures,
      alarmed: this.#alarmed,
      detail: this.#detail,
    };
  }

  #taken(lifetimeMs: number, remainingMs: number): void {
    // Somebody's clock is off when more is left than there ever was: the whole lifetime is before us, then.
    const remaining = Math.min(Math.max(0, remainingMs), lifetimeMs);
    const expiresAt = this.#now + remaining;
    const issuedAt = expiresAt - lifetimeMs;
    if (this.#alarmed) this.#effects.push({ type: 'clearAlarm' });
    this.#held = { lifetimeMs, takenAt: this.#now, alarmAt: issuedAt + lifetimeMs * ALARM_SHARE, expiresAt };
    this.#alarmed = false;
    this.#attempts = this.#failures = 0;
    this.#detail = '';
    this.#state = 'fresh';
    const share = 0.5 + this.#config.jitter * (this.#random.next('renewal.half-life') - 0.5);
    this.#attemptAt = Math.max(this.#now, issuedAt + lifetimeMs * share);
    // The advice came while the renewal was under way: what it brought may be older.
    if (this.#advised) this.#hurry();
  }

  #failed(detail: string, retryAfterMs: number): void {
    const held = this.#held;
    if (this.#state !== 'renewing' || held === undefined) return;
    this.#failures += 1;
    this.#detail = detail;
    this.#state = 'waiting';
    const { retryMinMs } = this.#config;
    const retryMaxMs = Math.min(this.#config.retryMaxMs, held.lifetimeMs * PAUSE_SHARE);
    const ceiling = Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(this.#failures - 1, 30));
    // Half of the ceiling for certain, so that a refusal that comes at once cannot make a busy loop.
    const pause = ceiling * (0.5 + 0.5 * this.#random.next('renewal.retry'));
    this.#attemptAt = this.#now + Math.max(pause, Math.min(retryAfterMs, retryMaxMs));
  }

  #refused(detail: string): void {
    if (this.#state !== 'renewing') return;
    this.#failures += 1;
    this.#detail = detail;
    this.#state = 'refused';
    this.#attemptAt = undefined;
    this.#alarm();
  }

  #hurry(): void {
    const held = this.#held;
    this.#advised = this.#state === 'renewing';
    // After a failure the next attempt is near anyway, and its pause is what the registry asked for.
    if (held === undefined || this.#state !== 'fresh') return;
    const most = held.lifetimeMs * PAUSE_SHARE;
    const rest = held.takenAt + Math.min(this.#config.adviceRestMs, most);
    const spread = Math.min(this.#config.adviceSpreadMs, most) * this.#random.next('renewal.advice');
    const at = Math.max(this.#now, rest) + spread;
    if (this.#attemptAt === undefined || at < this.#attemptAt) this.#attemptAt = at;
  }

  /**
   * What is due comes earlier with a clock that was set on, and no later with one that was set back: for everybody else the
   * certificate ends when it would have. Nor does it live longer from when it was taken than it ever lives.
   */
  #clockSet(remainingMs: number): void {
    const held = this.#held;
    if (held === undefined) return;
    const expiresAt = Math.min(this.#now + Math.max(0, remainingMs), held.takenAt + held.lifetimeMs);
    const shift = expiresAt - held.expiresAt;
    held.expiresAt = expiresAt;
    held.alarmAt += Math.min(0, shift);
    if (this.#state === 'fresh' && this.#attemptAt !== undefined) this.#attemptAt += Math.min(0, shift);
    if (this.#state === 'expired' && expiresAt > this.#now) {
      this.#state = 'waiting';
      this.#attemptAt = this.#now;
    }
  }

  /** Everything that is due by now, in the order it fell due. */
  #passTime(): void {
    const held = this.#held;
    if (held === undefined || this.#state === 'expired' || this.#state === 'idle') return;
    if (!this.#alarmed && this.#now >= held.alarmAt) this.#alarm();
    if (this.#now >= held.expiresAt) {
      this.#state = 'expired';
      this.#attemptAt = undefined;
      this.#effects.push({ type: 'reportExpiry' });
      return;
    }
    if (this.#attemptAt === undefined || this.#now < this.#attemptAt) return;
    this.#attemptAt = undefined;
    this.#attempts += 1;
    this.#state = 'renewing';
    this.#effects.push({ type: 'renew', attempt: this.#attempts });
  }

  #alarm(): void {
    if (this.#alarmed) return;
    this.#alarmed = true;
    const remainingMs = Math.max(0, (this.#held?.expiresAt ?? this.#now) - this.#now);
    const detail = this.#detail === '' ? 'the renewal has not been answered' : this.#detail;
    this.#effects.push({ type: 'raiseAlarm', remainingMs, detail });
  }
}
