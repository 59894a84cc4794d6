import { assert } from './assert.ts';
import type { LeaseId } from './ids.ts';
import { LeaseLife } from './lease-life.ts';
import type { Reactor } from './reactor.ts';
import type { Instant } from './time.ts';

type State =
  | { readonly kind: 'none' }
  | { readonly kind: 'granting' }
  | { readonly kind: 'held'; readonly life: LeaseLife }
  | { readonly kind: 'stopped' };

/** Keepers of the replica's own lease, under which its session keys live: granted at start, kept alive for ever, granted anew when lost. */
export class ReplicaLease {
  readonly #reactor: Reactor;
  readonly #onGranted: () => void;
  #state: State = { kind: 'none' };
  #attempts = 0;

  /** `onGranted` is called each time there is a new lease: every session key has to be put again. */
  constructor(reactor: Reactor, onGranted: () => void) {
    this.#reactor = reactor;
    this.#onGranted = onGranted;
  }

  /** undefined while there is none. May have lapsed meanwhile: a put then fails with lease-not-found. */
  get id(): LeaseId | undefined {
    return this.#state.kind === 'held' ? this.#state.life.id : undefined;
  }

  remainingMs(now: Instant): number {
    return this.#state.kind === 'held' ? this.#state.life.remainingMs(now) : 0;
  }

  start(): void {
    if (this.#state.kind !== 'none') return;
    const askedAt = this.#reactor.now;
    this.#state = { kind: 'granting' };
    this.#reactor.request({ type: 'leaseGrant', ttlMs: this.#reactor.config.leaseTtlMs }, (outcome) => {
      if (this.#state.kind !== 'granting') return;
      if (outcome.status === 'done') {
        assert(outcome.result.type === 'leaseGrant', 'a lease grant was answered by something else');
        return this.#granted(outcome.result.lease, askedAt, outcome.result.ttlMs);
      }
      this.#state = { kind: 'none' };
      this.#attempts += 1;
      this.#reactor.after('replica-lease', this.#reactor.retryDelay(this.#attempts), () => this.start());
    });
  }

  keptAlive(lease: LeaseId, sentAt: Instant, ttlMs: number): void {
    if (this.#state.kind !== 'held' || this.#state.life.id !== lease) return;
    if (ttlMs <= 0) this.lost(lease);
    else this.#state.life.acknowledged(sentAt, ttlMs);
  }

  /** The store said that it knows no such lease. */
  lost(lease: LeaseId): void {
    if (this.#state.kind !== 'held' || this.#state.life.id !== lease) return;
    this.#reactor.report({ type: 'replicaLeaseLost' });
    this.#state = { kind: 'none' };
    this.start();
  }

  /** Gives the lease up for good, and with it every session key of this replica. */
  stop(done: () => void): void {
    const lease = this.id;
    this.#state = { kind: 'stopped' };
    this.#reactor.deadlines.cancel('replica-lease');
    if (lease === undefined) return done();
    this.#reactor.request({ type: 'leaseRevoke', lease }, () => done());
  }

  #granted(id: LeaseId, askedAt: Instant, ttlMs: number): void {
    const timing = { marginMs: this.#reactor.config.leaseMarginMs, patienceMs: this.#interval(ttlMs) };
    this.#attempts = 0;
    this.#state = { kind: 'held', life: new LeaseLife(id, timing, askedAt, ttlMs) };
    this.#keepAlive();
    this.#onGranted();
  }

  #keepAlive(): void {
    if (this.#state.kind !== 'held') return;
    const { life } = this.#state;
    if (life.shouldSend(this.#reactor.now)) {
      life.sent(this.#reactor.now);
      this.#reactor.emit({ type: 'keepAlive', lease: life.id });
    }
    this.#reactor.after('replica-lease', this.#interval(life.ttlMs), () => this.#keepAlive());
  }

  /** Five chances within one TTL: a stopped or restarted store costs at most one of them. */
  #interval(ttlMs: number): number {
    return Math.max(100, ttlMs / 5);
  }
}
