import { assert } from '../shared/assert.ts';
import type { DialId, ProxyId } from '../shared/ids.ts';
import type { Instant } from '../shared/time.ts';

export type DialPurpose =
  /** For a wanted entry. */
  | 'seek'
  /** For an entry that a sibling holds. */
  | 'recheck'
  /** For whoever answers. */
  | 'probe'
  /** To replace a relayed tunnel by a direct one. */
  | 'upgrade';

export interface Dial {
  readonly id: DialId;
  readonly purpose: DialPurpose;
  /** The entry it is for; a probe has none. */
  readonly entry: ProxyId | undefined;
  readonly target: ProxyId | undefined;
  readonly deadline: Instant;
}

/** The shell should have answered by the deadline; after this much longer its permit is taken back. */
const OVERDUE_GRACE_MS = 2_000;

/**
 * Permits: every dial in flight holds one and every path gives it back, the path of a shell that forgets to answer
 * included (a permit lost once means an agent that never dials again: teleport#10368).
 */
export class Dials {
  readonly #maxPermits: number;
  readonly #inFlight = new Map<DialId, Dial>();
  /** Given up while in flight: they hold their permit until answered, but serve nobody. */
  readonly #cancelled = new Set<DialId>();
  #issued = 0;

  constructor(maxPermits: number) {
    this.#maxPermits = maxPermits;
  }

  get total(): number {
    return this.#issued;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  get permitFree(): boolean {
    return this.#inFlight.size < this.#maxPermits;
  }

  /** Whether some dial that chance steers may still reach anybody. */
  get unsteeredInFlight(): boolean {
    for (const dial of this.#inFlight.values()) {
      if (dial.target === undefined && !this.#cancelled.has(dial.id)) return true;
    }
    return false;
  }

  start(dial: Omit<Dial, 'id'>): Dial {
    assert(this.permitFree, 'a dial needs a permit');
    this.#issued += 1;
    const started: Dial = { ...dial, id: this.#issued as DialId };
    this.#inFlight.set(started.id, started);
    return started;
  }

  /** The dial `id` serves another entry from now on. Only for unsteered dials. */
  reassign(id: DialId, entry: ProxyId): void {
    const dial = this.#inFlight.get(id);
    assert(dial !== undefined && dial.target === undefined, `dial ${id} cannot be reassigned`);
    this.#inFlight.set(id, { ...dial, entry });
  }

  get(id: DialId): Dial | undefined {
    return this.#inFlight.get(id);
  }

  /** From now on the dial serves nobody. Returns false when it was given up before. */
  cancel(id: DialId): boolean {
    if (!this.#inFlight.has(id) || this.#cancelled.has(id)) return false;
    this.#cancelled.add(id);
    return true;
  }

  /** Ends a dial: gives its permit back. Undefined when nobody waits for it any more: given up, or overdue and forgotten. */
  finish(id: DialId): Dial | undefined {
    assert(id >= 1 && id <= this.#issued, `dial ${id} was never started`);
    const dial = this.#inFlight.get(id);
    const cancelled = this.#cancelled.delete(id);
    this.#inFlight.delete(id);
    return cancelled ? undefined : dial;
  }

  /** When `id` counts as forgotten by the shell. */
  static overdueAt(dial: Dial): Instant {
    return dial.deadline + OVERDUE_GRACE_MS;
  }

  inOrder(): readonly Dial[] {
    return [...this.#inFlight.values()];
  }
}
