import type { EpochKeeper } from './epoch-keeper.ts';
import type { Reactor } from './reactor.ts';
import type { ReplicaLease } from './replica-lease.ts';
import type { WatchCursor } from './watch-cursor.ts';

export interface ReadinessParts {
  readonly reactor: Reactor;
  readonly lease: ReplicaLease;
  readonly epoch: EpochKeeper;
  readonly cursor: WatchCursor;
}

/** Store operations in a row without an answer from which the store counts as down. */
const FAILURES_MEAN_DOWN = 3;

/** Whether the replica can do its work, and the news of that for people: once per outage, however much fails in it. */
export class Readiness {
  readonly #parts: ReadinessParts;
  #wasReady = false;
  #everReady = false;
  /** The store was reported as failing and has not been ready since. */
  #outage = false;
  #stopped = false;

  constructor(parts: ReadinessParts) {
    this.#parts = parts;
  }

  /** Empty when ready. */
  whyNot(): string {
    const { reactor, lease, epoch, cursor } = this.#parts;
    const { storeName } = reactor.config;
    if (reactor.failuresInRow >= FAILURES_MEAN_DOWN) return `the store at ${storeName} does not answer`;
    if (lease.remainingMs(reactor.now) === 0) return `no valid lease from the store at ${storeName}`;
    if (epoch.current === undefined) return `membership was not read yet from the store at ${storeName}`;
    return cursor.status === 'watching' ? '' : `the watch on the store at ${storeName} is being opened`;
  }

  /** True when the replica has just become ready. */
  turnEnded(): boolean {
    if (this.#stopped) return false;
    this.#noteOutage();
    const ready = this.whyNot() === '';
    const became = ready && !this.#wasReady;
    this.#wasReady = ready;
    if (became) {
      this.#everReady = true;
      this.#outage = false;
    }
    return became;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Before the store ever answered, the first failure is news: an endpoint may be wrong. */
  #noteOutage(): void {
    const { reactor } = this.#parts;
    const tolerated = this.#everReady ? FAILURES_MEAN_DOWN : 1;
    if (this.#outage || reactor.failuresInRow < tolerated) return;
    this.#outage = true;
    reactor.report({ type: 'storeFailing', detail: reactor.lastFailure });
  }
}
