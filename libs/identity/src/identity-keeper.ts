import { RenewalSchedule } from '@xylem/authority';
import type { Random, RenewalConfig, RenewalEffect, RenewalEvent, RenewalStatus } from '@xylem/authority';
import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { chainVerifier } from './chain-verifier.ts';
import { assertSame, renewIdentity } from './enrolment.ts';
import { EnrolmentError } from './enrolment-error.ts';
import { readIdentityFacts, readIdentityFolder } from './identity-folder.ts';
import type { EnrolmentAddress, IdentityFacts, StoredIdentity } from './identity-folder.ts';
import type { TlsMaterial } from './tls-material.ts';
import type { TlsSource } from './tls-source.ts';

/** What happens to an identity in use, for logs and metrics. `detail` is one line without secrets. */
export type IdentityNews =
  | { readonly kind: 'renewed'; readonly facts: IdentityFacts }
  /** Somebody put another version into the folder, by joining again for instance. */
  | { readonly kind: 'replaced'; readonly facts: IdentityFacts }
  | { readonly kind: 'renewal-failed'; readonly detail: string }
  /** Locked, revoked, refused: it ends with its certificate. */
  | { readonly kind: 'renewal-refused'; readonly detail: string }
  | { readonly kind: 'alarm-raised'; readonly remainingMs: number; readonly detail: string }
  | { readonly kind: 'alarm-cleared' }
  | { readonly kind: 'expired' }
  /** What is in the folder now cannot be used; the version before goes on. */
  | { readonly kind: 'folder-broken'; readonly detail: string };

export interface IdentityKeeperOptions {
  /** An identity folder that somebody has joined with. */
  readonly directory: string;
  /** Where renewals are asked for, in turn; asked each time. */
  readonly addresses: () => readonly EnrolmentAddress[];
  readonly random: Random;
  readonly onNews: (news: IdentityNews) => void;
  readonly schedule?: Partial<RenewalConfig>;
}

/** Longest delay of a Node timer. */
const TIMER_MAX_MS = 2 ** 31 - 1;
/** Looks at the folder and the wall clock, and again soon after the file system reported a change. */
const POLL_INTERVAL_MS = 10_000;
const SETTLE_MS = 50;
/** The wall clock is corrected by small steps all the time. */
const CLOCK_TOLERANCE_MS = 1_000;

/**
 * Keeps an identity that joined by token alive: renews it as RenewalSchedule decides, and is the TlsSource of whoever uses it. Throws a
 * KeyFileError at once when the folder cannot be used.
 */
export class IdentityKeeper implements TlsSource {
  readonly verify = chainVerifier(() => this.current());
  readonly #options: IdentityKeeperOptions;
  readonly #schedule: RenewalSchedule;
  readonly #listeners = new Set<(material: TlsMaterial) => void>();
  readonly #watcher: FSWatcher | undefined;
  readonly #poll: NodeJS.Timeout;
  #stored: StoredIdentity;
  #timer: NodeJS.Timeout | undefined;
  #settle: NodeJS.Timeout | undefined;
  #renewing = false;
  #lastProblem = '';
  #closed = false;

  constructor(options: IdentityKeeperOptions) {
    this.#options = options;
    this.#stored = readIdentityFolder(options.directory);
    this.#schedule = new RenewalSchedule(options.schedule ?? {}, options.random, performance.now());
    this.#watcher = this.#watch();
    this.#poll = setInterval(() => this.#look(), POLL_INTERVAL_MS).unref();
    this.#taken();
  }

  current(): TlsMaterial {
    return this.#stored.material;
  }

  onChange(listener: (material: TlsMaterial) => void): () => void {
    const entry = (material: TlsMaterial): void => listener(material);
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  notAfterMs(): number {
    return this.#stored.facts.notAfterMs;
  }

  facts(): IdentityFacts {
    return this.#stored.facts;
  }

  status(): RenewalStatus {
    return this.#schedule.status();
  }

  /** What is trusted, or who signs, has changed to this generation: the renewal comes soon, when it is news. */
  trustChanged(generation: number): void {
    if (generation > this.#stored.facts.trustGeneration) this.#feed({ type: 'renewalAdvised' });
  }

  /** Idempotent. A renewal on its way is finished by whoever opens the folder next. */
  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    clearInterval(this.#poll);
    clearTimeout(this.#timer);
    clearTimeout(this.#settle);
  }

  #feed(event: RenewalEvent): void {
    if (this.#closed) return;
    this.#schedule.handle(event, performance.now());
    for (let effect = this.#schedule.pollEffect(); effect !== undefined; effect = this.#schedule.pollEffect()) {
      this.#perform(effect);
    }
    clearTimeout(this.#timer);
    const next = this.#schedule.nextTimeout();
    if (next === undefined) return;
    const delay = Math.min(Math.max(0, Math.ceil(next - performance.now())), TIMER_MAX_MS);
    this.#timer = setTimeout(() => this.#feed({ type: 'timeout' }), delay).unref();
  }

  #perform(effect: RenewalEffect): void {
    const { onNews } = this.#options;
    switch (effect.type) {
      case 'renew':
        return void this.#renew();
      case 'raiseAlarm':
        return onNews({ kind: 'alarm-raised', remainingMs: effect.remainingMs, detail: effect.detail });
      case 'clearAlarm':
        return onNews({ kind: 'alarm-cleared' });
      case 'reportExpiry':
        return onNews({ kind: 'expired' });
    }
  }

  async #renew(): Promise<void> {
    const { directory, addresses, onNews } = this.#options;
    this.#renewing = true;
    try {
      this.#stored = await renewIdentity(directory, addresses(), this.#stored.facts);
    } catch (error) {
      this.#renewing = false;
      if (!this.#closed) this.#failed(error);
      return;
    }
    this.#renewing = false;
    if (this.#closed) return;
    onNews({ kind: 'renewed', facts: this.#stored.facts });
    this.#taken();
    this.#tellListeners();
  }

  #failed(error: unknown): void {
    const { onNews } = this.#options;
    const text = error instanceof Error ? error.message : String(error);
    const detail = error instanceof EnrolmentError && error.remedy !== '' ? `${text}; ${error.remedy}` : text;
    if (error instanceof EnrolmentError && error.final) {
      onNews({ kind: 'renewal-refused', detail });
      return this.#feed({ type: 'renewalRefused', detail });
    }
    onNews({ kind: 'renewal-failed', detail });
    const retryAfterMs = error instanceof EnrolmentError ? error.retryAfterMs : 0;
    this.#feed({ type: 'renewalFailed', detail, retryAfterMs });
  }

  #taken(): void {
    const { issuedAtMs, notAfterMs } = this.#stored.facts;
    this.#feed({
      type: 'certificateTaken',
      lifetimeMs: Math.max(1, notAfterMs - issuedAtMs),
      remainingMs: notAfterMs - Date.now(),
    });
  }

  #tellListeners(): void {
    for (const listener of [...this.#listeners]) listener(this.#stored.material);
  }

  #watch(): FSWatcher | undefined {
    try {
      const watcher = watch(this.#options.directory, { persistent: false }, () => {
        clearTimeout(this.#settle);
        this.#settle = setTimeout(() => this.#look(), SETTLE_MS).unref();
      });
      watcher.on('error', () => watcher.close());
      return watcher;
    } catch {
      // No watches left or none on this file system: the poll serves.
      return undefined;
    }
  }

  /** Another version in the folder, and a wall clock that was set. */
  #look(): void {
    if (this.#closed || this.#renewing) return;
    this.#lookAtFolder();
    // The schedule's status is as of its last event.
    this.#feed({ type: 'timeout' });
    const remainingMs = this.#stored.facts.notAfterMs - Date.now();
    const { state, remainingMs: believed } = this.#schedule.status();
    const off = Math.abs(Math.max(0, remainingMs) - believed);
    if (state !== 'idle' && off > CLOCK_TOLERANCE_MS) this.#feed({ type: 'clockSet', remainingMs });
  }

  #lookAtFolder(): void {
    const { directory, onNews } = this.#options;
    try {
      const facts = readIdentityFacts(directory);
      const { facts: known, material } = this.#stored;
      if (facts === undefined || sameVersion(facts, known)) return;
      const found = readIdentityFolder(directory);
      assertSame(directory, found.facts, known);
      this.#lastProblem = '';
      if (found.material.cert === material.cert) return;
      this.#stored = found;
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      if (detail !== this.#lastProblem) onNews({ kind: 'folder-broken', detail });
      this.#lastProblem = detail;
      return;
    }
    onNews({ kind: 'replaced', facts: this.#stored.facts });
    this.#taken();
    this.#tellListeners();
  }
}

function sameVersion(a: IdentityFacts, b: IdentityFacts): boolean {
  return a.generation === b.generation && a.issuedAtMs === b.issuedAtMs && a.notAfterMs === b.notAfterMs;
}
