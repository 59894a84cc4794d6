import { assert } from './assert.ts';
import type { ClusterView } from './cluster-view.ts';
import type { EpochKeeper } from './epoch-keeper.ts';
import { continuityKey, parseKey } from './keys.ts';
import type { Reactor } from './reactor.ts';
import type { ReplicaLease } from './replica-lease.ts';
import type { KeyValue } from './store.ts';

/** How long a living replica may take to vouch for the store. */
const VOUCH_MS = 1_000;
/** How many epochs are passed over, at most, where nobody knows which were given. */
const MAX_SKIPPED = 64n;
const ASKED = 'asked';
const VOUCHED = 'vouched';

export interface ContinuityParts {
  readonly reactor: Reactor;
  readonly view: ClusterView;
  readonly lease: ReplicaLease;
  readonly epoch: EpochKeeper;
  /** What waited for it may go on. */
  readonly onKnown: () => void;
}

/**
 * Whether the store goes on from where it was. A replica that has just started cannot know: a store that was restored from a
 * backup looks like any other, and would give out again what it gave in the time that is lost. So before such a replica
 * registers a root proxy that has just started itself, somebody has to vouch who remembers:
 * - a root proxy whose newest stamp the store has reached;
 * - another replica, asked through a key in the store: only one that lives and knows puts its answer there;
 * - whoever raises the epoch, which settles it.
 * When nobody answers, nobody is left: the epoch is raised. That costs nothing, for every root proxy registers anew anyway.
 */
export class Continuity {
  readonly #parts: ContinuityParts;
  #state: 'new' | 'asking' | 'known' = 'new';
  /** Epoch of the first list. */
  #first: bigint | undefined;

  constructor(parts: ContinuityParts) {
    this.#parts = parts;
  }

  /** Whether a root proxy that remembers nothing may be registered. If not, that is found out now. */
  isKnown(): boolean {
    if (this.#state === 'new') this.#ask();
    return this.#state === 'known';
  }

  /** A root proxy has seen nothing that the store has not. */
  witnessed(): void {
    this.#know();
  }

  /** The view changed. A store without an epoch is a new one: there is nothing to go on from. */
  viewed(questions: readonly KeyValue[]): void {
    const { epoch } = this.#parts.view;
    if (epoch === undefined) {
      if (this.#first === undefined) this.#know();
      return;
    }
    this.#first ??= epoch;
    if (epoch > this.#first) this.#know();
    for (const question of questions) this.#heard(question);
  }

  #heard(question: KeyValue): void {
    const key = parseKey(question.key);
    assert(key.kind === 'continuity', `${question.key} asks nothing`);
    const own = key.boot === this.#parts.reactor.config.boot;
    // One that was put late, or came back with a backup.
    if (own && this.#state === 'known') return this.#forget();
    if (own && question.value === VOUCHED) return this.#know();
    if (!own && question.value === ASKED && this.#state === 'known') this.#answer(question);
  }

  /** Under the lease of who asked, so that nothing is left of it. */
  #answer({ key, modRevision, lease }: KeyValue): void {
    const compares = [{ key, target: 'mod', equals: modRevision }] as const;
    const success = [{ type: 'put', key, value: VOUCHED, lease }] as const;
    this.#parts.reactor.txn({ compares, success, failure: [] }, () => undefined);
  }

  #ask(): void {
    const { reactor, lease } = this.#parts;
    if (lease.id === undefined) return;
    this.#state = 'asking';
    const put = { type: 'put', key: this.#key, value: ASKED, lease: lease.id } as const;
    reactor.txn({ compares: [], success: [put], failure: [] }, (outcome) => {
      if (this.#state !== 'asking') return;
      const asked = outcome.status === 'done';
      reactor.after('continuity', asked ? VOUCH_MS : reactor.retryDelay(1), () => {
        if (asked) return this.#unanswered();
        this.#state = 'new';
        this.#parts.onKnown();
      });
    });
  }

  #unanswered(): void {
    // Epochs may have been lost, too: one that is drawn is unlikely to be one of those. What is less, agents' evidence finds.
    this.#parts.epoch.skip(drawn(this.#parts.reactor.config.boot));
    this.#parts.reactor.onRestored('nobody is left who remembers it');
    this.#know();
  }

  #know(): void {
    const wasAsking = this.#state === 'asking';
    this.#state = 'known';
    if (!wasAsking) return;
    this.#forget();
    // In a turn of its own: whoever brought the news may be in the middle of a step.
    this.#parts.reactor.after('continuity', 0, this.#parts.onKnown);
  }

  #forget(): void {
    const forget = { type: 'delete', key: this.#key } as const;
    this.#parts.reactor.txn({ compares: [], success: [forget], failure: [] }, () => undefined);
  }

  get #key(): string {
    return continuityKey(this.#parts.reactor.config.boot);
  }
}

/** As random as the name of this start: FNV-1a. */
function drawn(boot: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (let at = 0; at < boot.length; at += 1)
    hash = BigInt.asUintN(64, (hash ^ BigInt(boot.charCodeAt(at))) * 0x100000001b3n);
  return (hash >> 32n) % MAX_SKIPPED;
}
