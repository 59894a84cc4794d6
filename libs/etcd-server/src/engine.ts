import { randomBytes } from 'node:crypto';
import { Store, emptyState } from '@xylem/store';
import type { Instant, Random, StoreChange, StoreConfig, StoreState, WatchId } from '@xylem/store';

/** Where changes are kept. */
export interface StoreFile {
  /** Writes all of them down, or none and throws. Returns when they outlive the machine's crash. */
  commit(changes: readonly StoreChange[]): void;
  close(): void;
}

/** A store file that could not be written; what was asked for may or may not be kept. */
export class StorageError extends Error {}

export interface EngineOptions {
  readonly config: StoreConfig;
  /** undefined: in memory only. */
  readonly file: StoreFile | undefined;
  /** What the file held; undefined: an empty store. */
  readonly state: StoreState | undefined;
  readonly clock: { now(): Instant };
}

/** After a failed commit, the next attempt. */
const RETRY_MS = 500;
/** setTimeout's own bound is 2^31 - 1 ms. */
const MAX_TIMER_MS = 60_000;

const cryptoRandom: Random = { next: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48 };

/**
 * Runs the store: one commit for all that one turn of the event loop brought (group commit), and no answer, read or watch event
 * before everything it rests on was written down. While the file cannot be written, every operation fails and the commit is tried
 * again, so memory and file never part.
 */
export class Engine {
  readonly store: Store;
  readonly #file: StoreFile | undefined;
  readonly #clock: { now(): Instant };
  readonly #changes: StoreChange[] = [];
  readonly #replies: ((failure: StorageError | undefined) => void)[] = [];
  readonly #readers = new Map<WatchId, () => void>();
  #flushing: NodeJS.Immediate | undefined;
  #retry: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerAt: Instant = Infinity;
  #failure: StorageError | undefined;
  #closed = false;

  constructor({ config, file, state, clock }: EngineOptions) {
    const now = clock.now();
    this.store = new Store({ ...config, journal: file !== undefined }, cryptoRandom, now, state ?? emptyState(now));
    this.#file = file;
    this.#clock = clock;
    this.#arm();
  }

  /** Why nothing can be written at the moment. */
  get failure(): StorageError | undefined {
    return this.#failure;
  }

  /** Runs `operation` now and `reply` with its result once everything before it is kept; or with the reason why it is not. */
  execute<T>(operation: (store: Store, now: Instant) => T, reply: (result: T | StorageError) => void): void {
    if (this.#failure !== undefined) return reply(this.#failure);
    const result = operation(this.store, this.#clock.now());
    this.#collect();
    if (this.#changes.length === 0 && this.#replies.length === 0) reply(result);
    else this.#replies.push((failure) => reply(failure ?? result));
    this.#schedule();
  }

  /** `onReady` is called whenever the watch has become readable, after its events are kept. */
  follow(id: WatchId, onReady: () => void): void {
    this.#readers.set(id, onReady);
  }

  unfollow(id: WatchId): void {
    this.#readers.delete(id);
    this.store.cancelWatch(id);
  }

  /** Writes down what is left and closes the file. */
  close(): void {
    if (this.#closed) return;
    if (this.#flushing !== undefined) this.#flush();
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#retry);
    this.#file?.close();
  }

  #collect(): void {
    for (let change = this.store.pollChange(); change !== undefined; change = this.store.pollChange())
      this.#changes.push(change);
  }

  #schedule(): void {
    this.#flushing ??= setImmediate(() => this.#flush());
  }

  #flush(): void {
    clearImmediate(this.#flushing);
    this.#flushing = undefined;
    if (this.#closed) return;
    this.#commit();
    for (const reply of this.#replies.splice(0)) reply(this.#failure);
    if (this.#failure === undefined) this.#wakeReaders();
    this.#arm();
  }

  #commit(): void {
    this.#failure = undefined;
    if (this.#changes.length === 0 || this.#file === undefined) return;
    try {
      this.#file.commit(this.#changes);
      this.#changes.length = 0;
    } catch (error) {
      this.#failure = new StorageError('the store file cannot be written', { cause: error });
      this.#retry = setTimeout(() => this.#schedule(), RETRY_MS);
    }
  }

  #wakeReaders(): void {
    for (let id = this.store.pollReadyWatch(); id !== undefined; id = this.store.pollReadyWatch())
      this.#readers.get(id)?.();
  }

  /** Due leases may only make the timer early: a later time is armed when the early one has passed. */
  #arm(): void {
    const due = this.store.nextTimeout() ?? Infinity;
    if (due >= this.#timerAt || this.#closed || this.#failure !== undefined) return;
    clearTimeout(this.#timer);
    const waitMs = Math.min(Math.max(0, Math.ceil(due - this.#clock.now())), MAX_TIMER_MS);
    this.#timerAt = due;
    this.#timer = setTimeout(() => this.#onTimer(), waitMs);
    this.#timer.unref();
  }

  #onTimer(): void {
    this.#timerAt = Infinity;
    this.execute(
      (store, now) => store.advance(now),
      () => undefined,
    );
  }
}
