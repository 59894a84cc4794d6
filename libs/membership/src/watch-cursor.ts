import { assert } from './assert.ts';
import { EPOCH_KEY, PREFIX, PREFIX_END } from './keys.ts';
import type { Reactor } from './reactor.ts';
import type { KeyValue, StoreEvent, StoreHeader } from './store.ts';

export interface WatchConsumer {
  /** A complete list, exact as of `revision`. */
  listed(kvs: readonly KeyValue[], revision: bigint): void;
  /** Everything that happened since, in order, up to `revision`. */
  advanced(events: readonly StoreEvent[], revision: bigint): void;
}

type State =
  | { readonly kind: 'pausing' }
  | {
      readonly kind: 'listing';
      readonly revision: bigint;
      readonly header: StoreHeader | undefined;
      readonly kvs: KeyValue[];
    }
  /** Asking for any header: may the watch go on where it broke? */
  | { readonly kind: 'probing' }
  | { readonly kind: 'watching'; readonly watch: number; opened: boolean }
  | { readonly kind: 'stopped' };

/**
 * Follows the store's history without a gap: list, then watch from the list's revision + 1; after a break watch again
 * from the last event's revision + 1, however often it breaks; after a compaction, or when the store's headers do not
 * prove that its history went on unbroken (see Timeline), list again.
 */
export class WatchCursor {
  readonly #reactor: Reactor;
  readonly #consumer: WatchConsumer;
  #state: State = { kind: 'pausing' };
  /** First revision not yet told; 0n before the first list and when only a list will do. */
  #next = 0n;
  #watch = 0;
  #failures = 0;
  #step = 0;

  constructor(reactor: Reactor, consumer: WatchConsumer) {
    this.#reactor = reactor;
    this.#consumer = consumer;
  }

  get status(): 'listing' | 'watching' | 'broken' {
    if (this.#state.kind === 'watching') return this.#state.opened ? 'watching' : 'broken';
    return this.#state.kind === 'listing' ? 'listing' : 'broken';
  }

  start(): void {
    this.#list();
  }

  stop(): void {
    this.#leave();
    this.#state = { kind: 'stopped' };
  }

  /** What was told is void: the store's history is another one. */
  restart(why: string): void {
    if (this.#state.kind === 'stopped') return;
    this.#reactor.report({ type: 'relisted', why });
    this.#next = 0n;
    this.#list();
  }

  opened(watch: number): void {
    if (this.#state.kind !== 'watching' || this.#state.watch !== watch) return;
    if (this.#state.opened) return;
    this.#state.opened = true;
    this.#failures = 0;
    this.#confirm(watch);
  }

  advanced(watch: number, events: readonly StoreEvent[], revision: bigint): void {
    if (this.#state.kind !== 'watching' || this.#state.watch !== watch) return;
    this.opened(watch);
    this.#reactor.timeline.saw(revision);
    if (revision < this.#next) return;
    this.#next = revision + 1n;
    this.#consumer.advanced(events, revision);
  }

  compacted(watch: number): void {
    if (this.#state.kind !== 'watching' || this.#state.watch !== watch) return;
    this.#state = { kind: 'pausing' };
    this.restart('the revisions after the last event were compacted');
  }

  lost(watch: number): void {
    if (this.#state.kind !== 'watching' || this.#state.watch !== watch) return;
    this.#reactor.count('watchLosses');
    this.#pause(() => this.#probe());
  }

  /** Waits a moment; the first time after things went well, not at all. */
  #pause(then: () => void): void {
    this.#state = { kind: 'pausing' };
    this.#step += 1;
    const delay = this.#failures === 0 ? 0 : this.#reactor.retryDelay(this.#failures);
    this.#failures += 1;
    this.#reactor.after('watch', delay, then);
  }

  #probe(): void {
    if (this.#next === 0n) return this.#list();
    this.#state = { kind: 'probing' };
    const step = (this.#step += 1);
    this.#reactor.txn({ compares: [], success: [{ type: 'get', key: EPOCH_KEY }], failure: [] }, (outcome) => {
      if (step !== this.#step) return;
      if (outcome.status === 'done') this.#open();
      else this.#pause(() => this.#probe());
    });
  }

  /**
   * Asks for anything once the watch is open: one that was opened on a restored store may wait for revisions that were told
   * already and be silent about new ones. The answer's header shows that (see Timeline).
   */
  #confirm(watch: number): void {
    this.#reactor.txn({ compares: [], success: [{ type: 'get', key: EPOCH_KEY }], failure: [] }, (outcome) => {
      if (this.#state.kind !== 'watching' || this.#state.watch !== watch || outcome.status === 'done') return;
      this.#reactor.after('watch', this.#reactor.config.retryMaxMs, () => this.#confirm(watch));
    });
  }

  #list(): void {
    this.#leave();
    this.#reactor.count('lists');
    this.#state = { kind: 'listing', revision: 0n, header: undefined, kvs: [] };
    this.#step += 1;
    this.#page(PREFIX);
  }

  #page(from: string): void {
    if (this.#state.kind !== 'listing') return;
    const { revision } = this.#state;
    const step = this.#step;
    const limit = this.#reactor.config.listPageSize;
    this.#reactor.request({ type: 'range', key: from, end: PREFIX_END, revision, limit }, (outcome) => {
      if (step !== this.#step || this.#state.kind !== 'listing') return;
      if (outcome.status !== 'done') return this.#pause(() => this.#list());
      assert(outcome.result.type === 'range', 'a range was answered by something else');
      this.#state.kvs.push(...outcome.result.kvs);
      const first = this.#state.header ?? outcome.header;
      if (first.term !== outcome.header.term || first.cluster !== outcome.header.cluster)
        return this.#pause(() => this.#list());
      const asOf = revision === 0n ? outcome.header.revision : revision;
      const last = outcome.result.kvs.at(-1);
      if (!outcome.result.more || last === undefined)
        return this.#listed(this.#state.kvs, { ...first, revision: asOf });
      this.#state = { kind: 'listing', revision: asOf, header: first, kvs: this.#state.kvs };
      this.#page(`${last.key}\0`);
    });
  }

  #listed(kvs: readonly KeyValue[], header: StoreHeader): void {
    this.#reactor.timeline.listed(header);
    this.#next = header.revision + 1n;
    this.#open();
    this.#consumer.listed(kvs, header.revision);
  }

  #open(): void {
    this.#watch += 1;
    this.#state = { kind: 'watching', watch: this.#watch, opened: false };
    this.#reactor.emit({ type: 'openWatch', watch: this.#watch, fromRevision: this.#next });
  }

  #leave(): void {
    this.#reactor.deadlines.cancel('watch');
    this.#step += 1;
    if (this.#state.kind === 'watching') this.#reactor.emit({ type: 'closeWatch', watch: this.#state.watch });
    this.#state = { kind: 'pausing' };
  }
}
