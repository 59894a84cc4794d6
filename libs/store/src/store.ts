import { ERRORS, StoreError } from './errors.ts';
import type { Outcome } from './errors.ts';
import { Keyspace, emptyKeyspace, replayKeyspace } from './keyspace.ts';
import type { KeyspaceState, WriteTxn } from './keyspace.ts';
import { Leases } from './lease.ts';
import type { LeaseGrant, LeaseTimeToLive } from './lease.ts';
import { checkRange, readRange } from './range.ts';
import { list } from './tree.ts';
import { applyDelete, applyPut, applyTxn } from './txn.ts';
import { checkDelete, checkPut, checkTxn } from './txn-check.ts';
import type {
  DeleteRangeRequest,
  DeleteRangeResult,
  Instant,
  PutRequest,
  PutResult,
  Random,
  RangeRequest,
  RangeResult,
  RequestOp,
  StoreChange,
  StoreEvent,
  TxnRequest,
  TxnResult,
} from './types.ts';
import { Watches } from './watch.ts';
import type { WatchBatch, WatchId, WatchRequest } from './watch.ts';
import { FROM_KEY, key } from './bytes.ts';

export interface StoreConfig {
  /** Shorter leases are raised to this. Default 2, as etcd with its default election timeout. */
  readonly minLeaseTtlSeconds?: number;
  /** Compares, or operations of one branch, in a transaction; nested ones share it. Default 128, as etcd. */
  readonly maxTxnOps?: number;
  /** Writes are refused with noSpace once the store holds this much. Default: no bound. */
  readonly quotaBytes?: number;
  /** History beyond this many revisions is compacted, an eighth more at a time; sooner when space runs out. Default: kept. */
  readonly keepRevisions?: number;
  /** History older than this is compacted, an eighth more at a time. Default: kept. */
  readonly keepMs?: number;
  /** Whether `pollChange` reports what has to be written down. Default false. */
  readonly journal?: boolean;
}

/** All that outlives a restart. A value: restoring it twice gives two stores that know nothing of each other. */
export interface StoreState {
  readonly keyspace: KeyspaceState;
  /** In order of their grants. */
  readonly leases: readonly LeaseGrant[];
}

/** What was written down by following `pollChange`. */
export interface StoreRecord {
  /** Every write that was not dropped, by revision and sub. */
  readonly writes: Iterable<StoreEvent>;
  readonly leases: readonly LeaseGrant[];
  /** -1n when there was no compaction. */
  readonly compactRevision: bigint;
}

/** A store in which nothing has happened: revision 1, no keys. */
export function emptyState(now: Instant): StoreState {
  return { keyspace: emptyKeyspace(now), leases: [] };
}

/** Makes the state again that was written down. Throws a RangeError naming the damage when revisions are missing. */
export function replayState(record: StoreRecord, now: Instant): StoreState {
  return { keyspace: replayKeyspace(record.writes, record.compactRevision, now), leases: record.leases };
}

const ALL_KEYS = { kind: 'span', from: key(''), to: undefined } as const;
const SLACK_DIVISOR = 8;
/** From this share of the quota on, history is halved with every write until there is room. */
const CROWDED_SHARE = 0.75;

/**
 * etcd's key-value store in memory: revisions, transactions, leases, watches. Performs no I/O and reads no clock. Every answer is
 * etcd's for the same request, errors included. `now` never goes backwards; a method that takes it first ends the leases due.
 */
export class Store {
  readonly #config: StoreConfig;
  readonly #random: Random;
  readonly #keyspace: Keyspace;
  readonly #leases: Leases;
  readonly #watches: Watches;
  readonly #changes: StoreChange[] = [];

  /** Leases of `state` get their whole time again, because nobody knows how much was left. */
  constructor(config: StoreConfig, random: Random, now: Instant, state: StoreState = emptyState(now)) {
    this.#config = config;
    this.#random = random;
    this.#keyspace = new Keyspace(state.keyspace);
    this.#leases = new Leases(config.minLeaseTtlSeconds ?? 2, state.leases, now);
    this.#watches = new Watches(this.#keyspace);
    for (const kv of list(this.#keyspace.root, ALL_KEYS)) this.#leases.follow({ type: 'put', kv });
  }

  /** What a restart would keep; restore an older one to play a backup. Costs no copy of the keys. */
  snapshot(): StoreState {
    return { keyspace: this.#keyspace.state(), leases: this.#leases.grants() };
  }

  /** Newest revision; 1n before the first write. */
  get revision(): bigint {
    return this.#keyspace.revision;
  }

  /** -1n before the first compaction. */
  get compactRevision(): bigint {
    return this.#keyspace.compactRevision;
  }

  /** Keys, values and history, by a rough count. */
  get sizeBytes(): number {
    return this.#keyspace.sizeBytes;
  }

  /** Whether writes are refused for want of space. */
  get isFull(): boolean {
    return this.#keyspace.sizeBytes >= (this.#config.quotaBytes ?? Infinity);
  }

  range(request: RangeRequest): Outcome<RangeResult> {
    return checkRange(request) ?? readRange(this.#keyspace, request);
  }

  put(request: PutRequest, now: Instant): Outcome<PutResult> {
    this.advance(now);
    const error = checkPut(request) ?? this.#spaceError();
    if (error !== undefined) return error;
    return this.#write(now, (txn) => applyPut(this.#leases, txn, request));
  }

  deleteRange(request: DeleteRangeRequest, now: Instant): Outcome<DeleteRangeResult> {
    this.advance(now);
    return checkDelete(request) ?? this.#write(now, (txn) => applyDelete(txn, request));
  }

  txn(request: TxnRequest, now: Instant): Outcome<TxnResult> {
    this.advance(now);
    const error =
      checkTxn(request, this.#config.maxTxnOps ?? 128) ?? (hasPut(request) ? this.#spaceError() : undefined);
    if (error !== undefined) return error;
    return this.#write(now, (txn) => applyTxn(this.#keyspace, this.#leases, txn, request));
  }

  /** Forgets history before `revision`; answers the newest revision. */
  compact(revision: bigint, now: Instant): Outcome<bigint> {
    this.advance(now);
    const error = this.#compact(revision);
    return error ?? this.revision;
  }

  /** `id` 0n: the store chooses. */
  grantLease(id: bigint, ttlSeconds: bigint, now: Instant): Outcome<LeaseGrant> {
    this.advance(now);
    const error = this.#spaceError();
    if (error !== undefined) return error;
    const grant = this.#leases.grant(id, ttlSeconds, this.#random, now);
    if (!(grant instanceof StoreError))
      this.#journal({ type: 'leaseGranted', id: grant.id, ttlSeconds: grant.ttlSeconds });
    return grant;
  }

  /** Ends a lease and removes its keys, in one revision; answers the newest revision. */
  revokeLease(id: bigint, now: Instant): Outcome<bigint> {
    this.advance(now);
    return this.#endLease(id, now) ? this.revision : ERRORS.leaseNotFound;
  }

  /** Gives a lease its whole time again; undefined when there is no such lease. */
  keepLeaseAlive(id: bigint, now: Instant): LeaseGrant | undefined {
    this.advance(now);
    return this.#leases.keepAlive(id, now);
  }

  leaseTimeToLive(id: bigint, now: Instant): LeaseTimeToLive | undefined {
    this.advance(now);
    return this.#leases.timeToLive(id, now);
  }

  /** Ids of all leases, those that end first before the others. */
  leases(now: Instant): readonly bigint[] {
    this.advance(now);
    return this.#leases.list();
  }

  createWatch(request: WatchRequest): Outcome<WatchId> {
    return this.#watches.create(request);
  }

  /** False when there is no such watch. */
  cancelWatch(id: WatchId): boolean {
    return this.#watches.cancel(id);
  }

  /** Whether the watch has read everything up to `revision`, so that progress may be told. */
  isWatchInStep(id: WatchId): boolean {
    return this.#watches.isInStep(id);
  }

  /** The next watch that became readable; drain to undefined after every call that may write. */
  pollReadyWatch(): WatchId | undefined {
    return this.#watches.pollReady();
  }

  /** Reads on, at least one event, whole revisions up to about `maxBytes`; undefined: nothing left for now. */
  readWatch(id: WatchId, maxBytes: number): WatchBatch | undefined {
    return this.#watches.read(id, maxBytes);
  }

  /** What has to be written down before the answer to the call that caused it is given; drain to undefined. */
  pollChange(): StoreChange | undefined {
    return this.#changes.shift();
  }

  /** Ends leases that are due and compacts history that is too old. */
  advance(now: Instant): void {
    for (const id of this.#leases.due(now)) this.#endLease(id, now);
    this.#compactByAge(now);
  }

  /** When to call `advance` next; undefined: never. */
  nextTimeout(): Instant | undefined {
    const lease = this.#leases.nextDue();
    const age = this.#nextAgeCompaction();
    return lease === undefined || age === undefined ? (lease ?? age) : Math.min(lease, age);
  }

  #write<T>(now: Instant, apply: (txn: WriteTxn) => Outcome<T>): Outcome<T> {
    const txn = this.#keyspace.begin();
    const outcome = apply(txn);
    if (!(outcome instanceof StoreError)) this.#commit(txn, now);
    return outcome;
  }

  #commit(txn: WriteTxn, now: Instant): void {
    const revision = this.#keyspace.commit(txn, now);
    if (revision === undefined) return;
    for (const event of revision.events) this.#leases.follow(event);
    this.#journal({ type: 'committed', revision: revision.number, events: revision.events });
    this.#watches.committed(revision);
    this.#compactByCount();
  }

  #endLease(id: bigint, now: Instant): boolean {
    const keys = this.#leases.end(id);
    if (keys === undefined) return false;
    const txn = this.#keyspace.begin();
    for (const attached of keys) txn.deleteRange({ kind: 'one', key: attached });
    this.#commit(txn, now);
    this.#journal({ type: 'leaseEnded', id });
    return true;
  }

  #compact(revision: bigint): StoreError | undefined {
    const dropped = this.#keyspace.compact(revision);
    if (dropped instanceof StoreError) return dropped;
    this.#journal({ type: 'compacted', revision, dropped });
    this.#watches.compacted();
    return undefined;
  }

  /** Keeps history within its bounds. Where it may be compacted at all, it gives way before a write has to be refused. */
  #compactByCount(): void {
    const keep = this.#config.keepRevisions;
    if (keep === undefined) return;
    const past = this.#keyspace.history.length - 1;
    const crowded = this.sizeBytes > (this.#config.quotaBytes ?? Infinity) * CROWDED_SHARE;
    if (crowded && past > 0) this.#compact(this.revision - BigInt(Math.min(keep, Math.floor(past / 2))));
    else if (past - keep > Math.ceil(keep / SLACK_DIVISOR)) this.#compact(this.revision - BigInt(keep));
  }

  #nextAgeCompaction(): Instant | undefined {
    const { oldest } = this.#keyspace.history;
    const keepMs = this.#config.keepMs;
    const second = this.#keyspace.history.get(oldest.number + 1n);
    return keepMs === undefined || second === undefined ? undefined : second.at + keepMs + keepMs / SLACK_DIVISOR;
  }

  #compactByAge(now: Instant): void {
    const due = this.#nextAgeCompaction();
    const keepMs = this.#config.keepMs;
    if (due === undefined || keepMs === undefined || now < due) return;
    const { history } = this.#keyspace;
    let number = history.oldest.number;
    for (
      let next = history.get(number + 1n);
      next !== undefined && next.at <= now - keepMs;
      next = history.get(number + 1n)
    ) {
      number = next.number;
    }
    this.#compact(number);
  }

  #spaceError(): StoreError | undefined {
    return this.isFull ? ERRORS.noSpace : undefined;
  }

  #journal(change: StoreChange): void {
    if (this.#config.journal === true) this.#changes.push(change);
  }
}

function hasPut(request: TxnRequest): boolean {
  const writes = (op: RequestOp): boolean => op.type === 'put' || (op.type === 'txn' && hasPut(op.request));
  return [...(request.success ?? []), ...(request.failure ?? [])].some(writes);
}

/** The range that a whole store is, for `range` and `createWatch`. */
export const EVERY_KEY = { key: FROM_KEY, rangeEnd: FROM_KEY } as const;
