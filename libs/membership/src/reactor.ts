import { assert } from './assert.ts';
import { Deadlines } from './deadlines.ts';
import type {
  KeyValue,
  StoreHeader,
  StoreOperation,
  StoreOutcome,
  StoreResult,
  TxnOperation,
  TxnResult,
} from './store.ts';
import type { Instant } from './time.ts';
import { Timeline } from './timeline.ts';
import type { TimelineMark } from './timeline.ts';
import type { RegistryConfig, RegistryCounter, RegistryEffect, RegistryReport } from './types.ts';

/** What became of a transaction. */
export type TxnOutcome =
  | { readonly status: 'done'; readonly header: StoreHeader; readonly result: TxnResult }
  | Exclude<StoreOutcome, { readonly status: 'done' }>;

interface Waiting {
  readonly operation: number;
  readonly request: StoreOperation;
}

/**
 * Where the parts of the core meet their surroundings: effects go out here, deadlines and answers of the store come
 * back to whoever asked for them. Store operations beyond the bound wait in line.
 */
export class Reactor {
  readonly config: RegistryConfig;
  readonly deadlines = new Deadlines();
  readonly timeline = new Timeline();
  readonly counters: Record<RegistryCounter, number> = zeroCounters();
  /** Set once: told when an answer shows that the store went back in time. */
  onRestored: (detail: string) => void = () => undefined;
  /** Set once: told when only a list can tell whether it is still the same history. */
  onDoubt: (detail: string) => void = () => undefined;
  now: Instant;
  readonly #effects: RegistryEffect[] = [];
  #taken = 0;
  readonly #asked = new Map<
    number,
    { readonly request: StoreOperation; readonly done: (outcome: StoreOutcome) => void; mark: TimelineMark | undefined }
  >();
  readonly #line: Waiting[] = [];
  #lineStart = 0;
  #operation = 0;
  #inFlight = 0;
  #failuresInRow = 0;
  #lastFailure = '';

  constructor(config: RegistryConfig, now: Instant) {
    this.config = config;
    this.now = now;
  }

  emit(effect: RegistryEffect): void {
    this.#effects.push(effect);
  }

  report(report: RegistryReport): void {
    this.#effects.push({ type: 'report', report });
  }

  count(counter: RegistryCounter): void {
    this.counters[counter] += 1;
  }

  pollEffect(): RegistryEffect | undefined {
    const effect = this.#effects[this.#taken];
    if (effect === undefined) {
      this.#effects.length = 0;
      this.#taken = 0;
      return undefined;
    }
    this.#taken += 1;
    return effect;
  }

  /** Runs `run` after `delayMs` unless the deadline of that name is set anew or cancelled. `lateMs` tells how late. */
  after(name: string, delayMs: number, run: (lateMs: number) => void): void {
    this.deadlines.set(name, this.now + delayMs, run);
  }

  /** Pause before attempt `attempt` (from 1) of a failed store operation. */
  retryDelay(attempt: number): number {
    return Math.min(this.config.retryMaxMs, this.config.retryMinMs * 2 ** Math.min(attempt - 1, 16));
  }

  /** Answers with the number of the operation, for `withdraw`. */
  request(request: StoreOperation, done: (outcome: StoreOutcome) => void): number {
    this.#operation += 1;
    this.#asked.set(this.#operation, { request, done, mark: undefined });
    this.#line.push({ operation: this.#operation, request });
    const operation = this.#operation;
    this.#sendWaiting();
    return operation;
  }

  /** Takes back an operation that still waits in line: it is never sent and `done` not called. False: it was sent. */
  withdraw(operation: number): boolean {
    const asked = this.#asked.get(operation);
    if (asked === undefined || asked.mark !== undefined) return false;
    return this.#asked.delete(operation);
  }

  txn(txn: Omit<TxnOperation, 'type'>, done: (outcome: TxnOutcome) => void): number {
    return this.request({ type: 'txn', ...txn }, (outcome) => {
      if (outcome.status !== 'done') return done(outcome);
      assert(outcome.result.type === 'txn', 'a transaction was answered by something else');
      done({ status: 'done', header: outcome.header, result: outcome.result });
    });
  }

  replied(operation: number, outcome: StoreOutcome): void {
    const asked = this.#asked.get(operation);
    assert(asked?.mark !== undefined, `operation ${operation} was answered without being asked`);
    this.#asked.delete(operation);
    this.#inFlight -= 1;
    this.#note(outcome);
    asked.done(this.#checkHistory(outcome, asked.mark, asked.request));
    this.#sendWaiting();
  }

  /** The store has shown, otherwise than by an operation, that it answers. */
  heardFromStore(): void {
    this.#failuresInRow = 0;
  }

  get operationsInFlight(): number {
    return this.#inFlight;
  }

  get operationsWaiting(): number {
    return this.#line.length - this.#lineStart;
  }

  /** Why the last operation without an answer got none. */
  get lastFailure(): string {
    return this.#lastFailure;
  }

  /** Store operations in a row that got no answer. */
  get failuresInRow(): number {
    return this.#failuresInRow;
  }

  /** What was done to another history than the one that was listed counts as unknown. Lists are what proves a history. */
  #checkHistory(outcome: StoreOutcome, mark: TimelineMark, request: StoreOperation): StoreOutcome {
    if (outcome.status !== 'done' || !isLinearizable(outcome.result)) return outcome;
    const { header } = outcome;
    const verdict = this.timeline.answered(header, mark, wrote(request, outcome.result));
    if (verdict === 'sound' || (verdict === 'unproven' && request.type === 'range')) return outcome;
    const detail = `revision ${header.revision} in term ${header.term} after revision ${mark.highWater}`;
    if (verdict === 'back') this.onRestored(detail);
    if (verdict === 'unproven' && this.timeline.doubt()) this.onDoubt(detail);
    return { status: 'unknown', detail: `the store's history is in doubt: ${detail}` };
  }

  #sendWaiting(): void {
    while (this.#inFlight < this.config.maxOperations) {
      const waiting = this.#line[this.#lineStart];
      if (waiting === undefined) break;
      this.#lineStart += 1;
      const asked = this.#asked.get(waiting.operation);
      if (asked === undefined) continue;
      asked.mark = this.timeline.mark();
      this.#inFlight += 1;
      this.emit({ type: 'request', ...waiting, timeoutMs: this.config.operationTimeoutMs });
    }
    if (this.#lineStart === this.#line.length) {
      this.#line.length = 0;
      this.#lineStart = 0;
    }
  }

  #note(outcome: StoreOutcome): void {
    if (outcome.status === 'done') {
      this.#failuresInRow = 0;
      return;
    }
    if (outcome.status === 'unknown') this.count('storeUnknowns');
    else this.count('storeFailures');
    const answered = outcome.status === 'failed' && outcome.cause !== 'unavailable';
    if (answered) return;
    this.#failuresInRow += 1;
    this.#lastFailure = outcome.detail;
  }
}

/** The key a `get` step found; steps are numbered from 0 in the branch that ran. */
export function found(result: TxnResult, step: number): KeyValue | undefined {
  return result.steps[step];
}

/** etcd answers lease requests from the member's own state, whose revision may lag. */
function isLinearizable(result: StoreResult): boolean {
  return result.type === 'txn' || result.type === 'range';
}

/** Whether the operation certainly made a revision. */
function wrote(request: StoreOperation, result: StoreResult): boolean {
  if (request.type !== 'txn' || result.type !== 'txn') return false;
  return (result.succeeded ? request.success : request.failure).some((step) => step.type === 'put');
}

function zeroCounters(): Record<RegistryCounter, number> {
  return {
    sessions: 0,
    registrations: 0,
    resumes: 0,
    refusals: 0,
    evictions: 0,
    claimsGranted: 0,
    claimsHeld: 0,
    claimsStale: 0,
    claimsUnavailable: 0,
    releases: 0,
    storeFailures: 0,
    storeUnknowns: 0,
    watchLosses: 0,
    lists: 0,
    restores: 0,
    views: 0,
    viewDeltas: 0,
  };
}
