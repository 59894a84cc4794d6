import type {
  KeyValue,
  StoreHeader,
  StoreOperation,
  StoreOutcome,
  StoreResult,
  TxnOperation,
  TxnStep,
} from '@xylem/membership';
import { PREFIX } from '@xylem/membership';
import { Store, StoreError, key } from '@xylem/store';
import type { RequestOp, StoreState } from '@xylem/store';
import type { Host } from './host.ts';
import { KeyedRandom } from './random.ts';
import type { Scheduled, Scheduler } from './scheduler.ts';
import { failureOf, fromResponse, fromStored, toCompare, toRequestOp } from './store-codec.ts';
import { StoreWatches } from './store-watches.ts';
import type { WatchHandlers, WatchRange } from './store-watches.ts';

/** How the store misbehaves now. All of it has been seen of real etcd clusters. */
export interface StoreLies {
  /** No request is answered: quorum lost. */
  down: boolean;
  /** Chance that a request is executed and its answer lost, or lost before it was executed: both look alike. */
  unknownOutcome: number;
  /** Chance that a keepalive of a lease that is gone is acknowledged all the same. */
  lyingKeepalive: number;
  /** Added to each watch delivery, at most. */
  watchLagMs: number;
  /** So many of the next claims find that somebody else, an operator's hand say, was faster. */
  rivals: number;
}

const MIN_DELAY_MS = 0.3;
const MAX_DELAY_MS = 4;
/** How long a request of unknown outcome may be on its way: well beyond its deadline. */
const LATE_MS = 6_000;
const CLUSTER = 7n;
const CLAIMS = `${PREFIX}claims/`;
const CLAIMS_END = `${PREFIX}claims0`;
/** Who holds a claim that no process asked for. */
const SOMEBODY_ELSE = 'somebody-else';
/** Of somebody else who uses the same store. */
const FOREIGN_KEY = '/elsewhere';

/** The store of a simulated deployment: the product's own MVCC core behind delays, failures and lies. */
export class StoreModel {
  readonly lies: StoreLies = { down: false, unknownOutcome: 0, lyingKeepalive: 0, watchLagMs: 0, rivals: 0 };
  readonly #scheduler: Scheduler;
  readonly #random: KeyedRandom;
  readonly #watches: StoreWatches;
  #store: Store;
  #term = 1n;
  #restores = 0;
  #deceivedAt = -Infinity;
  readonly #deletedByHand = new Set<string>();
  #expiry: Scheduled | undefined;

  readonly #note: (what: string) => void;

  constructor(seed: number, scheduler: Scheduler, note: (what: string) => void) {
    this.#note = note;
    this.#scheduler = scheduler;
    this.#random = new KeyedRandom(seed, 'store');
    this.#store = new Store({ minLeaseTtlSeconds: 2 }, this.#random, 0);
    const delay = {
      minMs: MIN_DELAY_MS,
      maxMs: () => MAX_DELAY_MS + this.lies.watchLagMs,
      isHeld: () => this.lies.down,
    };
    this.#watches = new StoreWatches(scheduler, delay, this.#store);
  }

  /** For checkers: the truth, without delay. */
  get store(): Store {
    return this.#store;
  }

  /** How often an older state was put in place of the present one. */
  get restores(): number {
    return this.#restores;
  }

  /**
   * When a lease was last taken away from somebody who could not know, or said to be there when it was not. Whoever was
   * deceived believes in it for another time to live.
   */
  get deceivedAt(): number {
    return this.#deceivedAt;
  }

  snapshot(): StoreState {
    return this.#store.snapshot();
  }

  /** Every key under a prefix as it is now. */
  list(prefix: string, end: string): readonly KeyValue[] {
    const answer = this.#store.range({ key: key(prefix), rangeEnd: key(end) });
    return answer instanceof StoreError ? [] : answer.kvs.map(fromStored);
  }

  request(host: Host, operation: StoreOperation, timeoutMs: number, reply: (outcome: StoreOutcome) => void): void {
    const answer = host.bind(reply);
    const unknown = (detail: string): void =>
      void this.#scheduler.after(timeoutMs, () => answer({ status: 'unknown', detail }));
    if (this.lies.down) return unknown('the store did not answer');
    const lost = this.#random.chance('unknown', this.lies.unknownOutcome);
    if (lost && this.#random.chance('lost-before', 0.5)) {
      // A request that nobody waits for any more may still be applied: it was only held up.
      if (this.#random.chance('late', 0.5))
        this.#scheduler.after(this.#random.between('how-late', 0, LATE_MS), () => this.#applyLate(operation));
      return unknown('the request was lost');
    }
    this.#later(() => {
      if (this.lies.down) return unknown('the store stopped answering');
      if (this.lies.rivals > 0 && isAcquire(operation)) this.#writeRival(operation);
      const outcome = this.#execute(operation);
      if (lost) {
        this.#note('a request was applied, and its answer lost');
        return unknown('the answer was lost');
      }
      this.#later(() => answer(outcome));
    });
  }

  /** The same record for another agent, a moment earlier. */
  #writeRival(operation: TxnOperation): void {
    this.lies.rivals -= 1;
    this.#note('somebody else writes the claim first');
    this.#execute({ ...operation, success: operation.success.map(forAnother) });
  }

  #applyLate(operation: StoreOperation): void {
    if (this.lies.down || operation.type === 'range') return;
    this.#note('a request lands late');
    this.#execute(operation);
  }

  keepAlive(host: Host, lease: bigint, reply: (ttlMs: number) => void): void {
    const answer = host.bind(reply);
    if (this.lies.down) return;
    this.#later(() => {
      if (this.lies.down) return;
      const grant = this.#store.keepLeaseAlive(lease, this.#scheduler.now);
      this.#changed();
      const lie = grant === undefined && this.#random.chance('keepalive', this.lies.lyingKeepalive);
      if (lie) this.#deceivedAt = this.#scheduler.now;
      const ttlMs = lie ? 10_000 : Number(grant?.ttlSeconds ?? 0n) * 1_000;
      this.#later(() => answer(ttlMs));
    });
  }

  /** Opens a watch; returns the way to close it. */
  watch(host: Host, range: WatchRange, handlers: WatchHandlers): () => void {
    let closed = false;
    let close: (() => void) | undefined;
    const generation = host.generation;
    const lost = host.bind(() => {
      if (!closed) handlers.onLost('the store does not answer');
    });
    this.#later(() => {
      if (closed || host.generation !== generation) return;
      if (this.lies.down) return lost();
      close = this.#watches.open(host, range, handlers);
      if (close === undefined) return lost();
      this.#changed();
    });
    return () => {
      closed = true;
      close?.();
    };
  }

  /** Breaks every watch, as a restart of the store does. */
  breakWatches(detail: string): void {
    this.#watches.breakAll(detail);
  }

  /** Forgets history while nobody watches: others wrote to the store meanwhile, so resumed watches come too late. */
  compact(): void {
    this.breakWatches('compacted');
    for (const value of ['one', 'two']) {
      this.#execute({
        type: 'txn',
        compares: [],
        success: [{ type: 'put', key: FOREIGN_KEY, value, lease: 0n }],
        failure: [],
      });
    }
    this.#store.compact(this.#store.revision, this.#scheduler.now);
    this.#changed();
  }

  /** A new leader renews every lease. */
  changeLeader(): void {
    this.#term += 1n;
    for (const lease of this.#store.leases(this.#scheduler.now)) this.#store.keepLeaseAlive(lease, this.#scheduler.now);
    this.breakWatches('leader changed');
    this.#changed();
  }

  /** Revokes one lease that was kept alive (etcd issue 15247: a slow old leader does that). */
  revokeWrongly(): boolean {
    const leases = this.#store.leases(this.#scheduler.now);
    if (leases.length === 0) return false;
    this.#deceivedAt = this.#scheduler.now;
    this.#store.revokeLease(this.#random.pick('revoke', leases), this.#scheduler.now);
    this.#changed();
    return true;
  }

  /** Deletes one claim record, as an operator's hand would. */
  deleteClaim(): void {
    const claims = this.list(CLAIMS, CLAIMS_END);
    if (claims.length === 0) return;
    const { key: claim } = this.#random.pick('delete-claim', claims);
    this.#note(`somebody deletes ${claim}`);
    this.#deletedByHand.add(claim);
    this.#execute({ type: 'txn', compares: [], success: [{ type: 'delete', key: claim }], failure: [] });
  }

  /** Whether the record was taken away by a hand rather than a process; once for each time. */
  wasDeletedByHand(claim: string): boolean {
    return this.#deletedByHand.delete(claim);
  }

  /** Puts an older state in place of the present one, as an operator does with a backup. */
  restore(state: StoreState): void {
    this.breakWatches('store restored');
    this.#term += 1n;
    this.#restores += 1;
    this.#deceivedAt = this.#scheduler.now;
    this.#store = new Store({ minLeaseTtlSeconds: 2 }, this.#random, this.#scheduler.now, state);
    this.#watches.replace(this.#store);
    this.#changed();
  }

  #later(work: () => void): void {
    this.#scheduler.after(this.#random.between('delay', MIN_DELAY_MS, MAX_DELAY_MS), work);
  }

  #execute(operation: StoreOperation): StoreOutcome {
    const now = this.#scheduler.now;
    const result = this.#apply(operation, now);
    this.#changed();
    if (result instanceof StoreError) return { status: 'failed', cause: failureOf(result), detail: result.message };
    return { status: 'done', header: this.#header(), result };
  }

  #apply(operation: StoreOperation, now: number): StoreResult | StoreError {
    switch (operation.type) {
      case 'txn':
        return this.#txn(operation, now);
      case 'range': {
        const { revision, limit } = operation;
        const answer = this.#store.range({ key: key(operation.key), rangeEnd: key(operation.end), revision, limit });
        return answer instanceof StoreError
          ? answer
          : { type: 'range', kvs: answer.kvs.map(fromStored), more: answer.more };
      }
      case 'leaseGrant': {
        const seconds = BigInt(Math.ceil(operation.ttlMs / 1_000));
        const grant = this.#store.grantLease(0n, seconds, now);
        return grant instanceof StoreError
          ? grant
          : { type: 'leaseGrant', lease: grant.id, ttlMs: Number(grant.ttlSeconds) * 1_000 };
      }
      case 'leaseRevoke': {
        const revoked = this.#store.revokeLease(operation.lease, now);
        return revoked instanceof StoreError ? revoked : { type: 'leaseRevoke' };
      }
    }
  }

  #txn(operation: TxnOperation, now: number): StoreResult | StoreError {
    const steps = (list: TxnOperation['success']): RequestOp[] => list.map(toRequestOp);
    const answer = this.#store.txn(
      {
        compare: operation.compares.map(toCompare),
        success: steps(operation.success),
        failure: steps(operation.failure),
      },
      now,
    );
    if (answer instanceof StoreError) return answer;
    return { type: 'txn', succeeded: answer.succeeded, steps: answer.responses.map(fromResponse) };
  }

  #header(): StoreHeader {
    return { cluster: CLUSTER, revision: this.#store.revision, term: this.#term };
  }

  /** After every change: deliver to watchers, and wake when the next lease ends. */
  #changed(): void {
    this.#watches.pump();
    this.#expiry?.cancel();
    const next = this.#store.nextTimeout();
    if (next === undefined) return;
    this.#expiry = this.#scheduler.at(next, () => {
      this.#store.advance(this.#scheduler.now);
      this.#changed();
    });
  }
}

function isAcquire(operation: StoreOperation): operation is TxnOperation {
  return (
    operation.type === 'txn' && operation.success.some((step) => step.type === 'put' && step.key.includes('/claims/'))
  );
}

function forAnother(step: TxnStep): TxnStep {
  if (step.type !== 'put') return step;
  return { ...step, value: step.value.replace(/"(agent|nonce)":"[^"]*"/g, `"$1":"${SOMEBODY_ELSE}"`) };
}
