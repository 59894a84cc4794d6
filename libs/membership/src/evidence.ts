import type { ClusterView } from './cluster-view.ts';
import type { EpochKeeper } from './epoch-keeper.ts';
import type { ProxyId } from './ids.ts';
import { EPOCH_KEY } from './keys.ts';
import type { Stamp } from './messages.ts';
import type { Reactor } from './reactor.ts';
import { found } from './reactor.ts';
import { decodeEpoch } from './records.ts';

/**
 * What agents remember of the store, signed by a registry of that time. It is how a restore is noticed once every root
 * proxy and registry that knew the lost time is gone. A replica that lags cannot tell, so the store is asked.
 */
export class SignedEvidence {
  readonly #reactor: Reactor;
  readonly #view: ClusterView;
  readonly #epoch: EpochKeeper;
  /** The latest that was shown and is not judged yet. */
  #newest: { readonly stamp: Stamp; readonly by: ProxyId } | undefined;
  #reading = false;

  constructor(reactor: Reactor, view: ClusterView, epoch: EpochKeeper) {
    this.#reactor = reactor;
    this.#view = view;
    this.#epoch = epoch;
  }

  /** Root proxies repeat what their view has not reached, so one that cannot be judged now is judged later. */
  shown(stamp: Stamp, by: ProxyId): void {
    if (!isAfter(stamp, this.#view.stamp)) return;
    if (this.#newest === undefined || isAfter(stamp, this.#newest.stamp)) this.#newest = { stamp, by };
    if (this.#reading) return;
    this.#reading = true;
    const success = [{ type: 'get', key: EPOCH_KEY }] as const;
    this.#reactor.txn({ compares: [], success, failure: [] }, (outcome) => {
      this.#reading = false;
      if (outcome.status !== 'done') return;
      this.#judge(decodeEpoch(found(outcome.result, 0)?.value ?? '') ?? 0n, outcome.header.revision);
    });
  }

  #judge(epoch: bigint, revision: bigint): void {
    const shown = this.#newest;
    this.#newest = undefined;
    if (shown !== undefined) this.#epoch.judge(shown.stamp, { epoch, revision }, `an agent of proxy ${shown.by}`);
  }
}

function isAfter(one: Stamp, other: Stamp): boolean {
  return one.epoch === other.epoch ? one.revision > other.revision : one.epoch > other.epoch;
}
