import { replayState } from '../store.ts';
import type { Store, StoreState } from '../store.ts';
import type { LeaseGrant } from '../lease.ts';
import type { Instant, StoreEvent } from '../types.ts';

/** Follows a store's changes as a file would, in memory. */
export class Recorder {
  readonly #writes = new Map<string, StoreEvent>();
  readonly #leases = new Map<bigint, LeaseGrant>();
  #compactRevision = -1n;

  /** How many writes are kept. */
  get size(): number {
    return this.#writes.size;
  }

  follow(store: Store): void {
    for (let change = store.pollChange(); change !== undefined; change = store.pollChange()) {
      switch (change.type) {
        case 'committed':
          for (const event of change.events) this.#writes.set(rowOf(event.kv), event);
          break;
        case 'leaseGranted':
          this.#leases.set(change.id, { id: change.id, ttlSeconds: change.ttlSeconds });
          break;
        case 'leaseEnded':
          this.#leases.delete(change.id);
          break;
        case 'compacted':
          for (const write of change.dropped) {
            if (!this.#writes.delete(rowOf(write))) throw new Error(`${rowOf(write)} was dropped twice`);
          }
          this.#compactRevision = change.revision;
          break;
      }
    }
  }

  replay(now: Instant): StoreState {
    const leases = [...this.#leases.values()];
    return replayState({ writes: [...this.#writes.values()], leases, compactRevision: this.#compactRevision }, now);
  }
}

function rowOf({ modRevision, sub }: { readonly modRevision: bigint; readonly sub: number }): string {
  return `${modRevision}.${sub}`;
}
