import type {
  Compare,
  KeyValue,
  StoreEvent,
  StoreHeader,
  StoreOperation,
  StoreOutcome,
  StoreResult,
  TxnStep,
} from '@xylem/membership';
import { PREFIX, PREFIX_END } from '@xylem/membership';
import { ERRORS, key, Store, StoreError } from '@xylem/store';
import type { Compare as StoreCompare, KeyValue as StoredKeyValue, RequestOp, StoreState, WatchId } from '@xylem/store';
import type { Dice } from './dice.ts';

const WATCH_BATCH_BYTES = 4_096;

export type WatchRead =
  | { readonly kind: 'events'; readonly events: readonly StoreEvent[]; readonly revision: bigint }
  | { readonly kind: 'compacted' };

/** The product's store core as the model of etcd: operations take effect when the test says so. */
export class ModelStore {
  readonly #dice: Dice;
  #store: Store;
  #term = 1n;

  constructor(dice: Dice) {
    this.#dice = dice;
    this.#store = new Store({ minLeaseTtlSeconds: 2 }, dice, 0);
  }

  get revision(): bigint {
    return this.#store.revision;
  }

  snapshot(): StoreState {
    return this.#store.snapshot();
  }

  /** Replaces the present by a backup; watches are gone. */
  restore(state: StoreState, now: number): void {
    this.#term += 1n;
    this.#store = new Store({ minLeaseTtlSeconds: 2 }, this.#dice, now, state);
  }

  advance(now: number): void {
    this.#store.advance(now);
  }

  compact(now: number): void {
    this.#store.compact(this.#store.revision, now);
  }

  execute(operation: StoreOperation, now: number): StoreOutcome {
    const result = this.#apply(operation, now);
    if (result instanceof StoreError) return { status: 'failed', cause: causeOf(result), detail: result.message };
    const header: StoreHeader = { cluster: 1n, revision: this.#store.revision, term: this.#term };
    return { status: 'done', header, result };
  }

  /** Milliseconds; 0: no such lease. */
  keepAlive(lease: bigint, now: number): number {
    return Number(this.#store.keepLeaseAlive(lease, now)?.ttlSeconds ?? 0n) * 1_000;
  }

  watch(startRevision: bigint): WatchId {
    const id = this.#store.createWatch({ key: key(PREFIX), rangeEnd: key(PREFIX_END), startRevision });
    if (id instanceof StoreError) throw id;
    return id;
  }

  readWatch(id: WatchId): WatchRead | undefined {
    const batch = this.#store.readWatch(id, WATCH_BATCH_BYTES);
    if (batch === undefined) return undefined;
    if (batch.type === 'compacted') return { kind: 'compacted' };
    const events = batch.events.map((event): StoreEvent =>
      event.type === 'put'
        ? { type: 'put', kv: fromStored(event.kv) }
        : { type: 'delete', key: event.kv.key, modRevision: event.kv.modRevision },
    );
    const last = events.at(-1);
    const revision = last === undefined ? 0n : last.type === 'put' ? last.kv.modRevision : last.modRevision;
    return { kind: 'events', events, revision };
  }

  /** Everything under our prefix as it is now. */
  list(): readonly KeyValue[] {
    const answer = this.#store.range({ key: key(PREFIX), rangeEnd: key(PREFIX_END) });
    return answer instanceof StoreError ? [] : answer.kvs.map(fromStored);
  }

  #apply(operation: StoreOperation, now: number): StoreResult | StoreError {
    switch (operation.type) {
      case 'txn': {
        const { compares, success, failure } = operation;
        const request = {
          compare: compares.map(toCompare),
          success: success.map(toStep),
          failure: failure.map(toStep),
        };
        const answer = this.#store.txn(request, now);
        if (answer instanceof StoreError) return answer;
        const steps = answer.responses.map((step) => {
          const kv = step.type === 'range' ? step.kvs[0] : undefined;
          return kv === undefined ? undefined : fromStored(kv);
        });
        return { type: 'txn', succeeded: answer.succeeded, steps };
      }
      case 'range': {
        const { revision, limit } = operation;
        const answer = this.#store.range({ key: key(operation.key), rangeEnd: key(operation.end), revision, limit });
        return answer instanceof StoreError
          ? answer
          : { type: 'range', kvs: answer.kvs.map(fromStored), more: answer.more };
      }
      case 'leaseGrant': {
        const grant = this.#store.grantLease(0n, BigInt(Math.ceil(operation.ttlMs / 1_000)), now);
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
}

function fromStored(kv: StoredKeyValue): KeyValue {
  const { createRevision, modRevision, lease } = kv;
  return { key: kv.key, value: Buffer.from(kv.value).toString(), createRevision, modRevision, lease };
}

function toCompare(compare: Compare): StoreCompare {
  const target =
    compare.target === 'value'
      ? ({ type: 'value', operand: Buffer.from(compare.equals) } as const)
      : ({ type: compare.target, operand: compare.equals } as const);
  return { key: key(compare.key), result: 'equal', target };
}

function toStep(step: TxnStep): RequestOp {
  switch (step.type) {
    case 'get':
      return { type: 'range', request: { key: key(step.key) } };
    case 'put':
      return { type: 'put', request: { key: key(step.key), value: Buffer.from(step.value), lease: step.lease } };
    case 'delete':
      return { type: 'deleteRange', request: { key: key(step.key) } };
  }
}

function causeOf(error: StoreError): 'lease-not-found' | 'compacted' | 'refused' {
  if (error === ERRORS.leaseNotFound) return 'lease-not-found';
  return error === ERRORS.compacted ? 'compacted' : 'refused';
}
