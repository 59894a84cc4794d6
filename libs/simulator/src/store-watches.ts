import type { StoreEvent } from '@xylem/membership';
import { StoreError, key } from '@xylem/store';
import type { Store, WatchId } from '@xylem/store';
import type { Host } from './host.ts';
import { KeyedRandom } from './random.ts';
import type { Scheduler } from './scheduler.ts';
import { fromStored } from './store-codec.ts';

export interface WatchHandlers {
  onOpened(): void;
  onAdvanced(revision: bigint, events: readonly StoreEvent[]): void;
  onCompacted(): void;
  onLost(detail: string): void;
}

/** What is watched: keys in [from, end), from a revision on. */
export interface WatchRange {
  readonly from: string;
  readonly end: string;
  readonly startRevision: bigint;
}

interface Watcher {
  readonly host: Host;
  readonly generation: number;
  readonly handlers: WatchHandlers;
  readonly random: KeyedRandom;
  lastDelivery: number;
  /** What came while nothing is delivered, oldest first. */
  readonly held: (() => void)[];
}

const BATCH_BYTES = 1 << 20;
/** How often what is held back is tried again. */
const HELD_MS = 20;

/** How late each delivery is, milliseconds; asked anew for each. */
export interface WatchDelay {
  readonly minMs: number;
  maxMs(): number;
  /** Whether nothing is delivered now: the store answers nobody. */
  isHeld(): boolean;
}

/** Everybody's watches on one state of the store. Each watcher hears in order, each at its own delay. */
export class StoreWatches {
  readonly #scheduler: Scheduler;
  readonly #delay: WatchDelay;
  readonly #watchers = new Map<WatchId, Watcher>();
  #store: Store;

  constructor(scheduler: Scheduler, delay: WatchDelay, store: Store) {
    this.#scheduler = scheduler;
    this.#delay = delay;
    this.#store = store;
  }

  /** Opens a watch for this life of `host`; undefined when the store refuses. Returns the way to close it. */
  open(host: Host, range: WatchRange, handlers: WatchHandlers): (() => void) | undefined {
    const { from, end, startRevision } = range;
    const store = this.#store;
    const id = store.createWatch({ key: key(from), rangeEnd: key(end), startRevision });
    if (id instanceof StoreError) return undefined;
    const random = new KeyedRandom(0, `watch/${host.name}/${String(id)}`);
    const { generation } = host;
    const watcher: Watcher = { host, generation, handlers, random, lastDelivery: this.#scheduler.now, held: [] };
    this.#watchers.set(id, watcher);
    this.#deliver(id, () => handlers.onOpened());
    return () => {
      // Another state of the store gives the same numbers to others' watches.
      if (this.#watchers.get(id) !== watcher) return;
      this.#watchers.delete(id);
      store.cancelWatch(id);
    };
  }

  /** Breaks every watch, as a restart of the store does. */
  breakAll(detail: string): void {
    for (const [id, watcher] of this.#watchers) {
      this.#watchers.delete(id);
      this.#store.cancelWatch(id);
      this.#schedule(watcher, () => watcher.handlers.onLost(detail));
    }
  }

  /** Another state is in force; every watch on the old one has been broken. */
  replace(store: Store): void {
    this.#store = store;
  }

  /** Delivers what the store has ready. */
  pump(): void {
    for (let id = this.#store.pollReadyWatch(); id !== undefined; id = this.#store.pollReadyWatch()) this.#drain(id);
  }

  #drain(id: WatchId): void {
    const watcher = this.#watchers.get(id);
    if (watcher === undefined) return;
    for (
      let batch = this.#store.readWatch(id, BATCH_BYTES);
      batch !== undefined;
      batch = this.#store.readWatch(id, BATCH_BYTES)
    ) {
      if (batch.type === 'compacted') {
        this.#watchers.delete(id);
        return this.#schedule(watcher, () => watcher.handlers.onCompacted());
      }
      const { revision } = batch;
      const events = batch.events.map((event): StoreEvent =>
        event.type === 'put'
          ? { type: 'put', kv: fromStored(event.kv) }
          : { type: 'delete', key: event.kv.key, modRevision: event.kv.modRevision },
      );
      this.#deliver(id, () => watcher.handlers.onAdvanced(revision, events));
    }
  }

  #deliver(id: WatchId, work: () => void): void {
    const watcher = this.#watchers.get(id);
    if (watcher === undefined) return;
    this.#schedule(watcher, () => {
      if (this.#watchers.get(id) === watcher) work();
    });
  }

  #schedule(watcher: Watcher, work: () => void): void {
    const lag = watcher.random.between('lag', this.#delay.minMs, this.#delay.maxMs());
    watcher.lastDelivery = Math.max(this.#scheduler.now + lag, watcher.lastDelivery + 1e-6);
    this.#scheduler.at(watcher.lastDelivery, () => this.#arrive(watcher, work));
  }

  #arrive(watcher: Watcher, work: () => void): void {
    watcher.held.push(work);
    if (watcher.held.length === 1) this.#release(watcher);
  }

  /** What is held back is tried again and again, in its order. */
  #release(watcher: Watcher): void {
    if (watcher.generation !== watcher.host.generation) return;
    if (this.#delay.isHeld()) return void this.#scheduler.after(HELD_MS, () => this.#release(watcher));
    for (const work of watcher.held.splice(0)) watcher.host.run(work);
  }
}
