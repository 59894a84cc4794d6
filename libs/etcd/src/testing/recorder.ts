import assert from 'node:assert/strict';
import type { StoreEvent, StoreOutcome, StoreResult, TxnStep } from '@xylem/membership';
import { createEtcdStore } from '../etcd-store.ts';
import type { EtcdEvent, EtcdStore } from '../etcd-store.ts';

const DEADLINE_MS = 15_000;
const REQUEST_MS = 2_000;

/** A store client whose events can be waited for. */
export class Recorder {
  readonly store: EtcdStore;
  readonly events: EtcdEvent[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(endpoints: readonly string[]) {
    this.store = createEtcdStore({
      endpoints,
      now: () => performance.now(),
      onEvent: (event) => {
        this.events.push(event);
        for (const wake of [...this.#waiting]) wake();
        this.#waiting.clear();
      },
    });
  }

  /** The first event, past or future, that `find` takes. */
  async until<T>(what: string, find: (event: EtcdEvent) => T | undefined): Promise<T> {
    const deadline = performance.now() + DEADLINE_MS;
    for (;;) {
      for (const event of this.events) {
        const found = find(event);
        if (found !== undefined) return found;
      }
      assert.ok(
        performance.now() < deadline,
        `no ${what} within ${DEADLINE_MS} ms; there was ${this.events.map(({ type }) => type).join(', ')}`,
      );
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, deadline - performance.now());
      this.#waiting.add(resolve);
      await promise;
      clearTimeout(timer);
    }
  }

  async opened(watch: number): Promise<void> {
    await this.until(`watch ${watch} opened`, (event) =>
      event.type === 'watchOpened' && event.watch === watch ? event : undefined,
    );
  }

  /** Everything watch `watch` told so far. */
  told(watch: number): readonly StoreEvent[] {
    return this.events.flatMap((event) =>
      event.type === 'watchAdvanced' && event.watch === watch ? event.events : [],
    );
  }

  /** Runs steps as one transaction; fails the test when the store does not do it. */
  async write(...success: readonly TxnStep[]): Promise<bigint> {
    const outcome = await this.store.run({ type: 'txn', compares: [], success, failure: [] }, REQUEST_MS);
    return doneOf(outcome).header.revision;
  }
}

export function doneOf(outcome: StoreOutcome): Extract<StoreOutcome, { readonly status: 'done' }> {
  assert.equal(outcome.status, 'done', outcome.status === 'done' ? '' : outcome.detail);
  if (outcome.status !== 'done') throw new Error('unreachable');
  return outcome;
}

/** The result of an operation of this type. */
export function resultOf<T extends StoreResult['type']>(
  outcome: StoreOutcome,
  type: T,
): Extract<StoreResult, { readonly type: T }> {
  const { result } = doneOf(outcome);
  assert.ok(isOfType(result, type), `${result.type} instead of ${type}`);
  return result;
}

export function put(key: string, value: string, lease = 0n): TxnStep {
  return { type: 'put', key, value, lease };
}

function isOfType<T extends StoreResult['type']>(
  result: StoreResult,
  type: T,
): result is Extract<StoreResult, { readonly type: T }> {
  return result.type === type;
}
