import { setTimeout as sleep } from 'node:timers/promises';
import { AUTHORITY_PREFIX, AUTHORITY_PREFIX_END, endOfPrefix } from '@xylem/authority';
import type { Plan, PlanStep, Read } from '@xylem/authority';
import { createEtcdStore } from '@xylem/etcd';
import type { EtcdEvent, EtcdOptions, EtcdStore } from '@xylem/etcd';
import type { KeyValue, StoreOperation, StoreResult, TxnStep } from '@xylem/membership';
import { Mirror } from './mirror.ts';

/** The store did not do what was asked, for now. The message is one line. */
export class StoreDownError extends Error {
  constructor(detail: string) {
    super(`the store does not answer: ${detail}`);
    this.name = 'StoreDownError';
  }
}

/** A record that cannot be read is never taken for an absent one. */
export class RecordError extends Error {
  constructor(key: string) {
    super(`${key} holds something that is no record of this version; correct or delete it with etcdctl`);
    this.name = 'RecordError';
  }
}

/** undefined for a text that is no such record. */
export type Decode<Record> = (text: string) => Record | undefined;

/**
 * Records of authority in the store, for every replica alike. Reads are linearizable; writes are transactions that hold
 * only while what was read is still so. Nothing waits longer than `BUDGET_MS`.
 */
export interface AuthorityStore {
  /** Rejects with a StoreDownError, or a RecordError when there is something else under the key. */
  read<Record>(key: string, decode: Decode<Record>): Promise<Read<Record>>;
  /** Everything under a prefix that ends in `/`, in key order. Unreadable records are left out. */
  list<Record>(prefix: string, decode: Decode<Record>): Promise<readonly Read<Record>[]>;
  /**
   * Whether the plan was carried out; false: something it compares with has changed, read again. Rejects with a
   * StoreDownError when that cannot be found out.
   */
  commit(plan: Plan): Promise<boolean>;
  /** What a watch says, at most a moment old: for what is pushed to others, never for a decision. */
  readonly mirror: Mirror;
  /** No watch and no operation any more. Idempotent. */
  close(): void;
}

const OPERATION_MS = 1_500;
/** Of one read or write with everything that is tried for it. */
const BUDGET_MS = 4_000;
const RETRY_MS = 100;
const PAGE_SIZE = 1_000;
const MS_PER_SECOND = 1_000;

export function openAuthorityStore(
  options: Pick<EtcdOptions, 'endpoints' | 'tls'>,
  onWatchLost: (detail: string) => void,
): AuthorityStore {
  return new Store(options, onWatchLost);
}

class Store implements AuthorityStore {
  readonly mirror: Mirror;
  readonly #etcd: EtcdStore;
  #closed = false;

  constructor(options: Pick<EtcdOptions, 'endpoints' | 'tls'>, onWatchLost: (detail: string) => void) {
    this.#etcd = createEtcdStore({
      ...options,
      watched: { start: AUTHORITY_PREFIX, end: AUTHORITY_PREFIX_END },
      now: () => performance.now(),
      onEvent: (event: EtcdEvent) => this.mirror.told(event),
    });
    this.mirror = new Mirror({
      list: () => this.#listRange(AUTHORITY_PREFIX, AUTHORITY_PREFIX_END),
      openWatch: (watch, revision) => this.#etcd.openWatch(watch, revision),
      onLost: onWatchLost,
    });
  }

  async read<Record>(key: string, decode: Decode<Record>): Promise<Read<Record>> {
    const found = await this.#get(key);
    if (found === undefined) return { key, record: undefined, modRevision: 0n, lease: 0n };
    const record = decode(found.value);
    if (record === undefined) throw new RecordError(key);
    return { key, record, modRevision: found.modRevision, lease: found.lease };
  }

  async list<Record>(prefix: string, decode: Decode<Record>): Promise<readonly Read<Record>[]> {
    const { kvs } = await this.#listRange(prefix, endOfPrefix(prefix));
    return kvs.flatMap(({ key, value, modRevision, lease }) => {
      const record = decode(value);
      return record === undefined ? [] : [{ key, record, modRevision, lease }];
    });
  }

  async commit(plan: Plan): Promise<boolean> {
    const success: TxnStep[] = [];
    for (const step of plan.steps) success.push(await this.#step(step));
    const compares = plan.compares.map(({ key, modRevision }) => ({
      key,
      target: 'mod' as const,
      equals: modRevision,
    }));
    const deadline = performance.now() + BUDGET_MS;
    for (;;) {
      const outcome = await this.#etcd.run({ type: 'txn', compares, success, failure: [] }, OPERATION_MS);
      if (outcome.status === 'done') return outcome.result.type === 'txn' && outcome.result.succeeded;
      if (outcome.status === 'unknown') return this.#wasDone(success);
      // A lease that lapsed meanwhile took its record along: the compares would have failed as well.
      if (outcome.cause === 'lease-not-found') return false;
      if (outcome.cause !== 'unavailable' || !this.#mayRetry(deadline)) throw new StoreDownError(outcome.detail);
      await sleep(RETRY_MS);
    }
  }

  close(): void {
    this.#closed = true;
    this.mirror.close();
    this.#etcd.close();
  }

  /**
   * After an unknown outcome. Values hold keys and instants that no other transaction puts, so finding one is proof. Not finding it is
   * none, but whatever is decided next compares with what is read next, and so excludes that it comes true after all.
   */
  async #wasDone(steps: readonly TxnStep[]): Promise<boolean> {
    for (const step of steps) {
      if (step.type === 'get') continue;
      const found = await this.#get(step.key);
      if (found?.value !== (step.type === 'put' ? step.value : undefined)) return false;
    }
    return true;
  }

  async #step(step: PlanStep): Promise<TxnStep> {
    switch (step.type) {
      case 'delete':
      case 'put':
        return step;
      case 'putFor': {
        const ttlMs = Math.max(MS_PER_SECOND, step.ttlMs);
        const granted = await this.#run({ type: 'leaseGrant', ttlMs });
        if (granted.type !== 'leaseGrant') throw new StoreDownError('no lease was granted');
        return { type: 'put', key: step.key, value: step.value, lease: granted.lease };
      }
    }
  }

  async #get(key: string): Promise<KeyValue | undefined> {
    const result = await this.#run({ type: 'txn', compares: [], success: [{ type: 'get', key }], failure: [] });
    return result.type === 'txn' ? result.steps[0] : undefined;
  }

  async #listRange(
    start: string,
    end: string,
  ): Promise<{ readonly kvs: readonly KeyValue[]; readonly revision: bigint }> {
    const kvs: KeyValue[] = [];
    let revision = 0n;
    for (let key = start; ;) {
      const page = await this.#done({ type: 'range', key, end, revision, limit: PAGE_SIZE });
      if (page.result.type !== 'range') throw new StoreDownError('a list was answered with something else');
      // All pages as of the first one's revision.
      if (revision === 0n) revision = page.header.revision;
      kvs.push(...page.result.kvs);
      const last = page.result.kvs.at(-1);
      if (!page.result.more || last === undefined) return { kvs, revision };
      key = `${last.key}\0`;
    }
  }

  async #run(operation: StoreOperation): Promise<StoreResult> {
    return (await this.#done(operation)).result;
  }

  /** Tries an operation that may be done twice until it is answered or the budget is used up. */
  async #done(operation: StoreOperation): Promise<Extract<Awaited<ReturnType<EtcdStore['run']>>, { status: 'done' }>> {
    const deadline = performance.now() + BUDGET_MS;
    for (;;) {
      const outcome = await this.#etcd.run(operation, OPERATION_MS);
      if (outcome.status === 'done') return outcome;
      const final = outcome.status === 'failed' && outcome.cause !== 'unavailable';
      if (final || !this.#mayRetry(deadline)) throw new StoreDownError(outcome.detail);
      await sleep(RETRY_MS);
    }
  }

  #mayRetry(deadline: number): boolean {
    return !this.#closed && performance.now() + RETRY_MS <= deadline;
  }
}
