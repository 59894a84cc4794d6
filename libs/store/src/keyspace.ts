import type { Key, KeyRange } from './bytes.ts';
import { ERRORS, StoreError } from './errors.ts';
import type { Outcome } from './errors.ts';
import { History } from './history.ts';
import type { Revision } from './history.ts';
import { find, insert, list, remove } from './tree.ts';
import type { Tree } from './tree.ts';
import type { Instant, KeyValue, StoreEvent, Tombstone, WriteId } from './types.ts';

/** What a write costs beside its key and value: a rough figure for the record, its place in the tree and in the file. */
const WRITE_OVERHEAD_BYTES = 256;

/** etcd's word for "never compacted"; the first revision of a store is 1, and empty. */
const NEVER_COMPACTED = -1n;
const FIRST_REVISION = 1n;

/** Everything a keyspace holds; a value, as cheap to make as to keep. */
export interface KeyspaceState {
  readonly history: History;
  readonly compactRevision: bigint;
  readonly sizeBytes: number;
}

/** The state of a store in which nothing has happened. */
export function emptyKeyspace(now: Instant): KeyspaceState {
  const history = new History([{ number: FIRST_REVISION, root: undefined, events: [], at: now }]);
  return { history, compactRevision: NEVER_COMPACTED, sizeBytes: 0 };
}

/**
 * Makes a keyspace again from the writes that were not dropped, in order. Throws a RangeError that names the first revision
 * that is missing or out of order: then what was written down is damaged.
 */
export function replayKeyspace(writes: Iterable<StoreEvent>, compactRevision: bigint, now: Instant): KeyspaceState {
  const base = compactRevision > FIRST_REVISION ? compactRevision : FIRST_REVISION;
  let root: Tree;
  let sizeBytes = 0;
  let open: { number: bigint; events: StoreEvent[] } = { number: 0n, events: [] };
  const revisions: Revision[] = [];
  const close = (): void => {
    if (open.number >= base) revisions.push({ ...open, root, at: now });
  };
  for (const event of writes) {
    const number = event.kv.modRevision;
    if (number < open.number) throw new RangeError(`revision ${number} comes after revision ${open.number}`);
    if (number > open.number) {
      close();
      if (number > base && open.number < base) revisions.push({ number: base, root, events: [], at: now });
      open = { number, events: [] };
    }
    root = event.type === 'put' ? insert(root, event.kv) : remove(root, event.kv.key);
    open.events.push(event);
    sizeBytes += writeBytes(event);
  }
  close();
  if (revisions.length === 0) revisions.push({ number: base, root, events: [], at: now });
  return { history: new History(revisions), compactRevision, sizeBytes };
}

/** The keys at every revision that can still be read. */
export class Keyspace {
  readonly #history: History;
  #compactRevision: bigint;
  #sizeBytes: number;

  constructor(state: KeyspaceState) {
    this.#history = state.history.fork();
    this.#compactRevision = state.compactRevision;
    this.#sizeBytes = state.sizeBytes;
  }

  state(): KeyspaceState {
    return { history: this.#history.fork(), compactRevision: this.#compactRevision, sizeBytes: this.#sizeBytes };
  }

  /** Revisions from the oldest that can be read to the newest. */
  get history(): Pick<History, 'oldest' | 'newest' | 'length' | 'get'> {
    return this.#history;
  }

  get revision(): bigint {
    return this.#history.newest.number;
  }

  get compactRevision(): bigint {
    return this.#compactRevision;
  }

  /** What keys, values and history take, by a rough count. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get root(): Tree {
    return this.#history.newest.root;
  }

  /** The keys as of a revision from 1 on. */
  rootAt(revision: bigint): Outcome<Tree> {
    if (revision > this.revision) return ERRORS.futureRevision;
    const kept = this.#history.get(revision);
    return kept === undefined ? ERRORS.compacted : kept.root;
  }

  begin(): WriteTxn {
    return new WriteTxn(this.root, this.revision + 1n);
  }

  /** Makes the writes of `txn` the next revision; undefined, and no revision, when there were none. */
  commit(txn: WriteTxn, now: Instant): Revision | undefined {
    if (txn.events.length === 0) return undefined;
    const revision = { number: txn.number, root: txn.root, events: txn.events, at: now };
    this.#history.append(revision);
    for (const event of txn.events) this.#sizeBytes += writeBytes(event);
    return revision;
  }

  /** Forgets what only revisions before `revision` can see; answers which writes those were. */
  compact(revision: bigint): Outcome<readonly WriteId[]> {
    if (revision <= this.#compactRevision) return ERRORS.compacted;
    if (revision > this.revision) return ERRORS.futureRevision;
    const dropped = revision <= this.#history.oldest.number ? [] : this.#unreachableFrom(revision);
    for (const event of dropped) this.#sizeBytes -= writeBytes(event);
    this.#compactRevision = revision;
    this.#history.dropBefore(revision);
    return dropped.map((event) => ({ modRevision: event.kv.modRevision, sub: event.kv.sub }));
  }

  /**
   * Writes that the keys as of `revision` do not contain. The writes of `revision` itself stay, removals too, because a watch may
   * start there.
   */
  #unreachableFrom(revision: bigint): readonly StoreEvent[] {
    const base = this.#history.oldest;
    const after = this.rootAt(revision);
    if (after instanceof StoreError) return [];
    const dropped = new Map<KeyValue | Tombstone, StoreEvent>();
    for (let number = base.number; number <= revision; number += 1n) {
      for (const event of this.#history.get(number)?.events ?? []) {
        const kept = find(after, event.kv.key);
        if (number < revision && kept !== event.kv) dropped.set(event.kv, event);
        const before = find(base.root, event.kv.key);
        if (before !== undefined && kept !== before) dropped.set(before, { type: 'put', kv: before });
      }
    }
    return [...dropped.values()];
  }
}

/** Writes under way: they see each other, nobody else sees them before they are committed. */
export class WriteTxn {
  /** The revision that the writes will be. */
  readonly number: bigint;
  readonly events: StoreEvent[] = [];
  root: Tree;

  constructor(root: Tree, number: bigint) {
    this.root = root;
    this.number = number;
  }

  /** Newest revision as the transaction sees it: its own once it has written. */
  get revision(): bigint {
    return this.events.length > 0 ? this.number : this.number - 1n;
  }

  put(key: Key, value: Uint8Array, lease: bigint): void {
    const before = find(this.root, key);
    const kv: KeyValue = {
      key,
      value,
      createRevision: before?.createRevision ?? this.number,
      modRevision: this.number,
      sub: this.events.length,
      version: (before?.version ?? 0n) + 1n,
      lease,
    };
    this.root = insert(this.root, kv);
    this.events.push({ type: 'put', kv });
  }

  /** Removes the keys of the range; answers what they were, in order. */
  deleteRange(range: KeyRange): readonly KeyValue[] {
    const gone = list(this.root, range);
    for (const { key } of gone) {
      this.root = remove(this.root, key);
      this.events.push({ type: 'delete', kv: { key, modRevision: this.number, sub: this.events.length } });
    }
    return gone;
  }
}

function writeBytes(event: StoreEvent): number {
  return WRITE_OVERHEAD_BYTES + event.kv.key.length + (event.type === 'put' ? event.kv.value.length : 0);
}
