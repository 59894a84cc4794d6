import { contains, keyRange } from './bytes.ts';
import type { Key, KeyRange } from './bytes.ts';
import { ERRORS } from './errors.ts';
import type { Outcome } from './errors.ts';
import type { Revision } from './history.ts';
import type { Keyspace } from './keyspace.ts';
import { find } from './tree.ts';
import type { KeyValue, StoreEvent } from './types.ts';

declare const brand: unique symbol;
/** Names one watch of this store. */
export type WatchId = number & { readonly [brand]: 'WatchId' };

export interface WatchRequest {
  readonly key: Key;
  readonly rangeEnd?: Key;
  /** First revision to report. Default, and 0n: what happens from now on. */
  readonly startRevision?: bigint;
  readonly noPut?: boolean;
  readonly noDelete?: boolean;
  readonly prevKv?: boolean;
  /** A revision that is larger than the reader's bound may come in parts. */
  readonly fragment?: boolean;
}

export type WatchEvent = StoreEvent & { readonly prevKv?: KeyValue };

/** What a reader gets for one `readWatch`. */
export type WatchBatch =
  | {
      readonly type: 'events';
      /** Newest revision of the store. */
      readonly revision: bigint;
      readonly events: readonly WatchEvent[];
      /** Only the beginning of its last revision; the rest follows. */
      readonly fragment: boolean;
    }
  /** The revisions it still had to report were compacted; the watch is gone. */
  | { readonly type: 'compacted'; readonly compactRevision: bigint };

/**
 * A watch keeps no events: it is a place in the history.
 * - inStep: everything so far was read; the next event it wants, at `from` or later, makes it behind.
 * - behind: has to read from `next` on, where the first `skip` events were read already.
 * - compacted: its place is gone. Ends with the next read.
 */
type WatchState =
  | { readonly type: 'inStep'; readonly from: bigint }
  | { readonly type: 'behind'; readonly next: bigint; readonly skip: number }
  | { readonly type: 'compacted' };

interface Watch {
  readonly id: WatchId;
  readonly range: KeyRange;
  readonly request: WatchRequest;
  state: WatchState;
}

/** Numbers and tags of one encoded event. */
const EVENT_OVERHEAD_BYTES = 64;
/** Revisions that one read looks at, so that a read of a long history stays short. */
const REVISIONS_PER_READ = 1_000n;

/** Who waits for which keys, and how far each of them has read. A reader that does not read costs nothing but its place. */
export class Watches {
  readonly #keyspace: Keyspace;
  readonly #watches = new Map<WatchId, Watch>();
  readonly #byKey = new Map<Key, Set<Watch>>();
  readonly #spans = new Set<Watch>();
  readonly #behind = new Set<Watch>();
  /** Watches that became readable and were not told of yet; in that order. */
  readonly #ready = new Set<WatchId>();
  #nextId = 0;

  constructor(keyspace: Keyspace) {
    this.#keyspace = keyspace;
  }

  get size(): number {
    return this.#watches.size;
  }

  create(request: WatchRequest): Outcome<WatchId> {
    const range = keyRange(request.key, request.rangeEnd);
    if (range.kind === 'span' && range.to !== undefined && range.from >= range.to) return ERRORS.emptyWatchRange;
    const id = this.#newId();
    const start = request.startRevision ?? 0n;
    const newest = this.#keyspace.revision;
    const inStep = start === 0n || start > newest;
    const state: WatchState = inStep
      ? { type: 'inStep', from: start === 0n ? newest + 1n : start }
      : { type: 'behind', next: start, skip: 0 };
    const watch: Watch = { id, range, request, state };
    this.#watches.set(id, watch);
    this.#index(watch);
    if (!inStep) this.#fallBehind(watch);
    if (start < this.#keyspace.compactRevision && !inStep) watch.state = { type: 'compacted' };
    return id;
  }

  /** False when there is no such watch. */
  cancel(id: WatchId): boolean {
    const watch = this.#watches.get(id);
    if (watch === undefined) return false;
    this.#watches.delete(id);
    this.#behind.delete(watch);
    this.#ready.delete(id);
    this.#spans.delete(watch);
    if (watch.range.kind === 'one') {
      const same = this.#byKey.get(watch.range.key);
      same?.delete(watch);
      if (same?.size === 0) this.#byKey.delete(watch.range.key);
    }
    return true;
  }

  /** Whether everything up to the newest revision was read. */
  isInStep(id: WatchId): boolean {
    return this.#watches.get(id)?.state.type === 'inStep';
  }

  committed(revision: Revision): void {
    for (const event of revision.events) {
      for (const watch of this.#byKey.get(event.kv.key) ?? []) this.#notice(watch, event);
      for (const watch of this.#spans) {
        if (contains(watch.range, event.kv.key)) this.#notice(watch, event);
      }
    }
  }

  compacted(): void {
    for (const watch of this.#behind) {
      if (watch.state.type === 'behind' && watch.state.next < this.#keyspace.compactRevision) {
        watch.state = { type: 'compacted' };
        this.#ready.add(watch.id);
      }
    }
  }

  /** The next watch that became readable; each is named once, then again after it was read to the end. */
  pollReady(): WatchId | undefined {
    const { done, value } = this.#ready.values().next();
    if (done === true) return undefined;
    this.#ready.delete(value);
    return value;
  }

  /**
   * Reads on: whole revisions until `maxBytes` are reached; at least one event, and more than `maxBytes` when a revision may not
   * be divided. Undefined: there is nothing left, or no such watch.
   */
  read(id: WatchId, maxBytes: number): WatchBatch | undefined {
    const watch = this.#watches.get(id);
    while (watch !== undefined && watch.state.type === 'behind') {
      const batch = this.#readOn(watch, watch.state.next, watch.state.skip, maxBytes);
      if (batch.events.length > 0) return batch;
    }
    if (watch?.state.type !== 'compacted') return undefined;
    this.cancel(id);
    return { type: 'compacted', compactRevision: this.#keyspace.compactRevision };
  }

  #readOn(watch: Watch, from: bigint, skip: number, maxBytes: number): Extract<WatchBatch, { type: 'events' }> {
    const newest = this.#keyspace.revision;
    const result = { type: 'events', revision: newest } as const;
    const events: WatchEvent[] = [];
    let bytes = 0;
    let number = from;
    for (const end = from + REVISIONS_PER_READ; number <= newest && number < end && bytes < maxBytes; number += 1n) {
      const all = this.#keyspace.history.get(number)?.events ?? [];
      for (let index = number === from ? skip : 0; index < all.length; index += 1) {
        const event = all[index];
        if (event === undefined || !wants(watch, event)) continue;
        if (bytes >= maxBytes && watch.request.fragment === true) {
          watch.state = { type: 'behind', next: number, skip: index };
          return { ...result, events, fragment: true };
        }
        const told = this.#withPrevious(watch, event);
        events.push(told);
        bytes += eventBytes(told);
      }
    }
    if (number > newest) {
      watch.state = { type: 'inStep', from: number };
      this.#behind.delete(watch);
    } else {
      watch.state = { type: 'behind', next: number, skip: 0 };
    }
    return { ...result, events, fragment: false };
  }

  #withPrevious(watch: Watch, event: StoreEvent): WatchEvent {
    const isCreation = event.type === 'put' && event.kv.createRevision === event.kv.modRevision;
    if (watch.request.prevKv !== true || isCreation) return event;
    const before = this.#keyspace.history.get(event.kv.modRevision - 1n);
    const prevKv = before && find(before.root, event.kv.key);
    return prevKv === undefined ? event : { ...event, prevKv };
  }

  #notice(watch: Watch, event: StoreEvent): void {
    if (watch.state.type !== 'inStep' || event.kv.modRevision < watch.state.from || !wantsType(watch, event)) return;
    watch.state = { type: 'behind', next: event.kv.modRevision, skip: 0 };
    this.#fallBehind(watch);
  }

  #fallBehind(watch: Watch): void {
    this.#behind.add(watch);
    this.#ready.add(watch.id);
  }

  #index(watch: Watch): void {
    if (watch.range.kind === 'span') {
      this.#spans.add(watch);
      return;
    }
    const same = this.#byKey.get(watch.range.key);
    if (same === undefined) this.#byKey.set(watch.range.key, new Set([watch]));
    else same.add(watch);
  }

  #newId(): WatchId {
    const id = this.#nextId;
    this.#nextId += 1;
    return brandWatchId(id);
  }
}

function brandWatchId(id: number): WatchId {
  const isWatchId = (value: number): value is WatchId => Number.isSafeInteger(value);
  if (!isWatchId(id)) throw new RangeError('out of watch ids');
  return id;
}

function wants(watch: Watch, event: StoreEvent): boolean {
  return contains(watch.range, event.kv.key) && wantsType(watch, event);
}

function wantsType({ request }: Watch, event: StoreEvent): boolean {
  return event.type === 'put' ? request.noPut !== true : request.noDelete !== true;
}

/** Roughly what the event takes when it is encoded. */
function eventBytes(event: WatchEvent): number {
  const value = event.type === 'put' ? event.kv.value.length : 0;
  const previous = event.prevKv === undefined ? 0 : event.prevKv.key.length + event.prevKv.value.length;
  return EVENT_OVERHEAD_BYTES + event.kv.key.length + value + previous;
}
