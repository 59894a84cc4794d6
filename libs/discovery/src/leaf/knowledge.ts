import { earliest } from '../shared/backoff.ts';
import type { Evidence, GossipMessage, ProxyRecord, Snapshot, Stamp } from '../shared/gossip.ts';
import {
  applyMessage,
  checkMessage,
  compactHeard,
  EMPTY_VIEW,
  hear,
  headCovers,
  type GossipView,
  type MergeOutcome,
} from '../shared/gossip-view.ts';
import type { Incarnation, ProxyId } from '../shared/ids.ts';
import type { Instant } from '../shared/time.ts';

/** What is known of one root proxy at an instant. */
export interface Verdict {
  readonly kind:
    /** Vouched for: worth a dial. */
    | 'ready'
    /** Vouched for, but about to stop. */
    | 'draining'
    /** There is evidence that it is no member any more. */
    | 'gone'
    /** Nobody can vouch for it any more. */
    | 'expired';
  readonly incarnation: Incarnation;
  readonly generation: number;
}

/**
 * What an agent believes about membership. Production uses `StampedKnowledge`; the simulator puts the protocols we
 * compare ourselves with behind the same interface.
 */
export interface Knowledge {
  /** Merges gossip. `invalid` messages change nothing. */
  receive(message: GossipMessage, now: Instant): MergeOutcome | 'invalid';
  /** A root proxy answered a dial, or a tunnel to it was alive until now. */
  shookHands(proxy: ProxyId, incarnation: Incarnation, now: Instant): void;
  verdict(proxy: ProxyId, now: Instant): Verdict;
  /** Every root proxy that is vouched for, in order of id. */
  records(now: Instant): readonly ProxyId[];
  /** Greatest stamp heard. */
  readonly stamp: Stamp | undefined;
  /** What was signed about the greatest stamp; undefined where nobody signs, or what was signed is not known any more. */
  readonly evidence: Evidence | undefined;
  /** When something expires next, after `now`; undefined when nothing can. */
  nextExpiry(now: Instant): Instant | undefined;
}

/**
 * Decides whether gossip may be believed, beyond its form: returns why not. The seam for signed snapshots.
 *
 * @param resulting The member list that would be believed; undefined for a message that changes and confirms nothing.
 */
export type AdmitGossip = (message: GossipMessage, resulting: Snapshot | undefined) => string | undefined;

const UNKNOWN: Verdict = { kind: 'expired', incarnation: 0n as Incarnation, generation: 0 };

/**
 * Stamped snapshots: the greedy rule with order. Gossip only adds or refreshes; only a greater stamp that omits a proxy
 * is evidence against it. What nobody repeated for `expiryMs` is believed no longer.
 */
export class StampedKnowledge implements Knowledge {
  readonly #expiryMs: number;
  readonly #admit: AdmitGossip;
  #view: GossipView = EMPTY_VIEW;
  #members: ReadonlyMap<ProxyId, ProxyRecord> = new Map();
  /** When somebody last vouched for the head. */
  #confirmedAt: Instant | undefined;

  constructor(expiryMs: number, admit: AdmitGossip = () => undefined) {
    this.#expiryMs = expiryMs;
    this.#admit = admit;
  }

  get view(): GossipView {
    return this.#view;
  }

  get stamp(): Stamp | undefined {
    return this.#view.head?.stamp;
  }

  get evidence(): Evidence | undefined {
    const { head } = this.#view;
    return head?.statement === undefined ? undefined : { stamp: head.stamp, statement: head.statement };
  }

  receive(message: GossipMessage, now: Instant): MergeOutcome | 'invalid' {
    if (checkMessage(message) !== undefined) return 'invalid';
    // A head that nobody confirmed for so long bars nothing any more: with every process that knew its epoch gone, a store
    // restored from an older backup would otherwise never be believed again.
    const base = this.#headIsFresh(now) ? this.#view : { head: undefined, heard: this.#view.heard };
    const { view, outcome } = applyMessage(base, message);
    const vouches = outcome === 'advanced' || outcome === 'confirmed';
    if (this.#admit(message, vouches ? view.head : undefined) !== undefined) return 'invalid';
    if (outcome === 'confirmed') this.#view = view;
    if (outcome === 'advanced') {
      this.#view = compactHeard(view, now - this.#expiryMs);
      this.#members = new Map(view.head?.proxies.map((record) => [record.id, record]));
    }
    if (vouches) this.#confirmedAt = now;
    return outcome;
  }

  shookHands(proxy: ProxyId, incarnation: Incarnation, now: Instant): void {
    this.#view = compactHeard(hear(this.#view, proxy, incarnation, now), now - this.#expiryMs);
  }

  verdict(proxy: ProxyId, now: Instant): Verdict {
    const heard = this.#view.heard.get(proxy);
    const member = this.#headIsFresh(now) ? this.#members.get(proxy) : undefined;
    const fresh = heard !== undefined && now - heard.at <= this.#expiryMs && !headCovers(this.#view.head, heard);
    if (fresh && (member === undefined || heard.incarnation > member.incarnation)) {
      return { kind: 'ready', incarnation: heard.incarnation, generation: member?.generation ?? 0 };
    }
    if (member !== undefined) {
      return { kind: member.state, incarnation: member.incarnation, generation: member.generation };
    }
    return this.#headIsFresh(now) ? { ...UNKNOWN, kind: 'gone' } : UNKNOWN;
  }

  records(now: Instant): readonly ProxyId[] {
    const ids = new Set<ProxyId>(this.#headIsFresh(now) ? this.#members.keys() : []);
    for (const [proxy, heard] of this.#view.heard) {
      if (now - heard.at <= this.#expiryMs && !headCovers(this.#view.head, heard)) ids.add(proxy);
    }
    return [...ids].sort();
  }

  nextExpiry(now: Instant): Instant | undefined {
    let next: Instant | undefined;
    for (const at of [this.#confirmedAt, ...[...this.#view.heard.values()].map((heard) => heard.at)]) {
      if (at !== undefined && at + this.#expiryMs >= now) next = earliest(next, at + this.#expiryMs + 1);
    }
    return next;
  }

  #headIsFresh(now: Instant): boolean {
    return this.#confirmedAt !== undefined && now - this.#confirmedAt <= this.#expiryMs;
  }
}
