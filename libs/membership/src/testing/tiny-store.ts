import { PREFIX } from '../keys.ts';
import type {
  KeyValue,
  StoreEvent,
  StoreOperation,
  StoreOutcome,
  StoreResult,
  TxnOperation,
  TxnStep,
} from '../store.ts';

const ABSENT = { createRevision: 0n, modRevision: 0n, value: undefined };

/** Just enough of an MVCC store to answer one core's operations: no history, leases without time. */
export class TinyStore {
  readonly kvs = new Map<string, KeyValue>();
  readonly leases = new Set<bigint>();
  /** What happened under our prefix, by revision; taken out by the watch. */
  readonly events: { readonly revision: bigint; readonly events: StoreEvent[] }[] = [];
  revision = 1n;
  term = 1n;
  #lastLease = 100n;

  execute(operation: StoreOperation): StoreOutcome {
    const result = this.#apply(operation);
    if (result === undefined) return { status: 'failed', cause: 'lease-not-found', detail: 'no such lease' };
    return { status: 'done', header: { cluster: 1n, revision: this.revision, term: this.term }, result };
  }

  /** One write that no core asked for. */
  write(...steps: readonly TxnStep[]): bigint {
    this.#run(steps);
    return this.revision;
  }

  #apply(operation: StoreOperation): StoreResult | undefined {
    switch (operation.type) {
      case 'txn':
        return this.#txn(operation);
      case 'range': {
        const kvs = [...this.kvs.values()]
          .filter(({ key }) => key >= operation.key && key < operation.end)
          .sort((a, b) => (a.key < b.key ? -1 : 1));
        return { type: 'range', kvs: kvs.slice(0, operation.limit), more: kvs.length > operation.limit };
      }
      case 'leaseGrant':
        this.#lastLease += 1n;
        this.leases.add(this.#lastLease);
        return { type: 'leaseGrant', lease: this.#lastLease, ttlMs: operation.ttlMs };
      case 'leaseRevoke':
        if (!this.leases.delete(operation.lease)) return undefined;
        this.#run(
          [...this.kvs.values()]
            .filter(({ lease }) => lease === operation.lease)
            .map(({ key }) => ({ type: 'delete', key })),
        );
        return { type: 'leaseRevoke' };
    }
  }

  #txn(operation: TxnOperation): StoreResult | undefined {
    const succeeded = operation.compares.every((compare) => {
      const { createRevision, modRevision, value } = this.kvs.get(compare.key) ?? ABSENT;
      if (compare.target === 'value') return value === compare.equals;
      return (compare.target === 'create' ? createRevision : modRevision) === compare.equals;
    });
    const steps = succeeded ? operation.success : operation.failure;
    if (steps.some((step) => step.type === 'put' && step.lease !== 0n && !this.leases.has(step.lease)))
      return undefined;
    return { type: 'txn', succeeded, steps: this.#run(steps) };
  }

  #run(steps: readonly TxnStep[]): readonly (KeyValue | undefined)[] {
    const events: StoreEvent[] = [];
    const revision = this.revision + 1n;
    const found = steps.map((step) => {
      if (step.type === 'get') return this.kvs.get(step.key);
      if (step.type === 'put') {
        const { key, value, lease } = step;
        const kv = {
          key,
          value,
          lease,
          createRevision: this.kvs.get(key)?.createRevision ?? revision,
          modRevision: revision,
        };
        this.kvs.set(key, kv);
        events.push({ type: 'put', kv });
      } else if (this.kvs.delete(step.key)) {
        events.push({ type: 'delete', key: step.key, modRevision: revision });
      }
      return undefined;
    });
    if (events.length === 0) return found;
    this.revision = revision;
    this.events.push({
      revision,
      events: events.filter((event) => (event.type === 'put' ? event.kv.key : event.key).startsWith(PREFIX)),
    });
    return found;
  }
}
