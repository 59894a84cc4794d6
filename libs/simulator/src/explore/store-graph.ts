import { PREFIX, PREFIX_END, decodeClaim, parseKey } from '@xylem/membership';
import type { KeyValue, StoreEvent, StoreOperation, StoreOutcome, StoreResult } from '@xylem/membership';
import { Store, StoreError, key } from '@xylem/store';
import type { StoreState } from '@xylem/store';
import { failureOf, fromResponse, fromStored, toCompare, toRequestOp } from '../store-codec.ts';
import { Names, canonical } from './automaton.ts';

/** One delivery of a watch. */
export interface Batch {
  readonly revision: bigint;
  readonly events: readonly StoreEvent[];
}

/** The store at one moment, and what was ever recorded in it. Never changes. */
export interface StoreNode {
  /** Equal for equal content: all keys with their revisions and leases, the revision, the leases, the tokens ever written. */
  readonly name: number;
  readonly state: StoreState;
  readonly kvs: ReadonlyMap<string, KeyValue>;
  /** Tokens of claims ever recorded, and the nonce of each. */
  readonly tokens: ReadonlyMap<bigint, string>;
  readonly leasesGranted: bigint;
}

export interface StoreStep {
  readonly node: StoreNode;
  readonly outcome: StoreOutcome;
  /** What a watch will tell of it; undefined when nothing changed. */
  readonly batch: Batch | undefined;
}

const RANDOM = { next: () => 0 };
const CONFIG = { minLeaseTtlSeconds: 2 };
const BATCH_BYTES = 1 << 20;

/** All states of the store that were reached, each made by the product's own MVCC store from the one before. Time stands still in it. */
export class StoreGraph {
  readonly #names = new Names();
  readonly #steps = new Map<string, StoreStep>();
  readonly initial: StoreNode;

  constructor() {
    this.initial = this.#node(new Store(CONFIG, RANDOM, 0), new Map(), 0n);
  }

  execute(from: StoreNode, operation: StoreOperation): StoreStep {
    const name = `${String(from.name)} ${canonical(operation)}`;
    let step = this.#steps.get(name);
    if (step === undefined) {
      step = this.#run(from, operation);
      this.#steps.set(name, step);
    }
    return step;
  }

  #run(from: StoreNode, operation: StoreOperation): StoreStep {
    const store = new Store(CONFIG, RANDOM, 0, from.state);
    const watch = store.createWatch({
      key: key(PREFIX),
      rangeEnd: key(PREFIX_END),
      startRevision: store.revision + 1n,
    });
    if (watch instanceof StoreError) throw watch;
    const granted = operation.type === 'leaseGrant' ? from.leasesGranted + 1n : from.leasesGranted;
    const result = apply(store, operation, granted);
    const read = store.readWatch(watch, BATCH_BYTES);
    const node = this.#node(store, from.tokens, granted);
    const outcome: StoreOutcome =
      result instanceof StoreError
        ? { status: 'failed', cause: failureOf(result), detail: result.message }
        : { status: 'done', header: { cluster: 7n, revision: store.revision, term: 1n }, result };
    if (read?.type !== 'events' || read.events.length === 0) return { node, outcome, batch: undefined };
    const events = read.events.map((event): StoreEvent =>
      event.type === 'put'
        ? { type: 'put', kv: fromStored(event.kv) }
        : { type: 'delete', key: event.kv.key, modRevision: event.kv.modRevision },
    );
    return { node, outcome, batch: { revision: read.revision, events } };
  }

  #node(store: Store, before: ReadonlyMap<bigint, string>, leasesGranted: bigint): StoreNode {
    const answer = store.range({ key: key(PREFIX), rangeEnd: key(PREFIX_END) });
    if (answer instanceof StoreError) throw answer;
    const kvs = new Map(answer.kvs.map((kv) => [kv.key as string, fromStored(kv)]));
    const tokens = new Map(before);
    for (const kv of kvs.values()) {
      if (parseKey(kv.key).kind === 'claim') tokens.set(kv.createRevision, decodeClaim(kv.value)?.nonce ?? '');
    }
    const content = [store.revision, leasesGranted, store.leases(0), [...kvs.values()], [...tokens]];
    return { name: this.#names.of(canonical(content)), state: store.snapshot(), kvs, tokens, leasesGranted };
  }
}

function apply(store: Store, operation: StoreOperation, lease: bigint): StoreResult | StoreError {
  switch (operation.type) {
    case 'txn': {
      const { compares, success, failure } = operation;
      const answer = store.txn(
        { compare: compares.map(toCompare), success: success.map(toRequestOp), failure: failure.map(toRequestOp) },
        0,
      );
      if (answer instanceof StoreError) return answer;
      return { type: 'txn', succeeded: answer.succeeded, steps: answer.responses.map(fromResponse) };
    }
    case 'range': {
      const answer = store.range({ ...operation, key: key(operation.key), rangeEnd: key(operation.end) });
      return answer instanceof StoreError
        ? answer
        : { type: 'range', kvs: answer.kvs.map(fromStored), more: answer.more };
    }
    case 'leaseGrant': {
      const grant = store.grantLease(lease, BigInt(Math.ceil(operation.ttlMs / 1_000)), 0);
      return grant instanceof StoreError
        ? grant
        : { type: 'leaseGrant', lease: grant.id, ttlMs: Number(grant.ttlSeconds) * 1_000 };
    }
    case 'leaseRevoke': {
      const revoked = store.revokeLease(operation.lease, 0);
      return revoked instanceof StoreError ? revoked : { type: 'leaseRevoke' };
    }
  }
}
