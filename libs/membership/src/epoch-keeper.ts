import type { ClusterView } from './cluster-view.ts';
import { FIRST_EPOCH, LAST_EPOCH } from './fence.ts';
import { EPOCH_KEY } from './keys.ts';
import type { Stamp } from './messages.ts';
import type { Reactor } from './reactor.ts';
import { encodeEpoch } from './records.ts';
import type { Instant } from './time.ts';

/** Stamps that others have seen may cause one raise in this time, so that a lying proxy cannot use the epochs up. */
const RAISE_INTERVAL_MS = 10_000;

/**
 * Keeps the epoch in the store above every epoch that was in force before a restore. A restore shows itself by a
 * revision that went back, by a list that contradicts what was seen, by a root proxy that has seen a later stamp
 * than the store has reached, or by what a registry signed and an agent kept. Until the raised epoch is seen in the watch, no view is given out.
 */
export class EpochKeeper {
  readonly #reactor: Reactor;
  readonly #view: ClusterView;
  /** Least epoch that may be in force. */
  #required = FIRST_EPOCH;
  /** Greatest epoch that the store was seen at, and a revision at which it was. */
  #seen: Stamp = { epoch: 0n, revision: 0n };
  #writing = false;
  #attempts = 0;
  #raisedAt: Instant | undefined;

  constructor(reactor: Reactor, view: ClusterView) {
    this.#reactor = reactor;
    this.#view = view;
  }

  /** The epoch of the store, or undefined while it is missing or has to be raised. */
  get current(): bigint | undefined {
    const { epoch } = this.#view;
    return epoch !== undefined && epoch >= this.#required ? epoch : undefined;
  }

  /** The store was restored: what comes from now on has a greater epoch than anything before. Returns it. */
  raise(): bigint {
    this.above(this.#view.epoch ?? FIRST_EPOCH);
    this.#required += 1n;
    this.#seen = { epoch: 0n, revision: 0n };
    this.#raisedAt = this.#reactor.now;
    return this.#required;
  }

  /** The next raise passes over so many epochs. */
  skip(epochs: bigint): void {
    this.above((this.#view.epoch ?? FIRST_EPOCH) + epochs);
  }

  /**
   * Compares what `witness` had seen before the store was asked with what a linearizable read found. Why the store must have
   * been restored; undefined when it need not be. The first to find that out in a while has the epoch raised.
   */
  judge(seen: Stamp | undefined, read: Stamp, witness: string): string | undefined {
    this.saw(read.epoch, read.revision);
    const detail = seen && contradiction(seen, read);
    if (seen !== undefined && detail !== undefined && this.#mayRaise()) {
      this.above(seen.epoch);
      this.#reactor.onRestored(`${witness}: ${detail}`);
    }
    return detail;
  }

  /** A linearizable read found this epoch. */
  saw(epoch: bigint, revision: bigint): void {
    if (epoch > this.#seen.epoch) this.#seen = { epoch, revision };
    this.above(epoch);
  }

  /** Whether the view, just listed, has an older epoch than it had at an earlier revision. */
  wentBack(): boolean {
    return this.#view.revision >= this.#seen.revision && (this.#view.epoch ?? 0n) < this.#seen.epoch;
  }

  #mayRaise(): boolean {
    return this.#raisedAt === undefined || this.#reactor.now - this.#raisedAt >= RAISE_INTERVAL_MS;
  }

  /** The next raise has to go above this epoch. */
  above(epoch: bigint): void {
    if (epoch > this.#required) this.#required = epoch;
  }

  /** Writes the epoch if it is missing or too low; called whenever the view changed. */
  ensure(): void {
    this.saw(this.#view.epoch ?? 0n, this.#view.revision);
    if (this.current !== undefined || this.#writing || this.#required >= LAST_EPOCH) return;
    this.#writing = true;
    const compares = [{ key: EPOCH_KEY, target: 'mod', equals: this.#view.epochModRevision }] as const;
    const put = { type: 'put', key: EPOCH_KEY, value: encodeEpoch(this.#required), lease: 0n } as const;
    this.#reactor.txn({ compares, success: [put], failure: [] }, (outcome) => {
      this.#writing = false;
      if (outcome.status === 'done') {
        this.#attempts = 0;
        return;
      }
      this.#attempts += 1;
      this.#reactor.after('epoch', this.#reactor.retryDelay(this.#attempts), () => this.ensure());
    });
  }
}

function contradiction(seen: Stamp, read: Stamp): string | undefined {
  if (seen.epoch > read.epoch) return `epoch ${seen.epoch} was seen, the store is at ${read.epoch}`;
  if (seen.epoch < read.epoch || seen.revision <= read.revision) return undefined;
  return `revision ${seen.revision} was seen, the store is at ${read.revision}`;
}
