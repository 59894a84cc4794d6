import type { ClusterView, ViewChanges } from './cluster-view.ts';
import type { ProxyId } from './ids.ts';
import type { ClaimSlot } from './keys.ts';
import type { Stamp } from './messages.ts';
import type { Reactor } from './reactor.ts';
import type { Attached } from './session.ts';
import type { Sessions } from './sessions.ts';

/**
 * Streams the view to every attached session: a full view first, then one delta per turn in which members or claims
 * changed. Whoever cannot take a delta (not reading, or the store was restored) gets a full view instead.
 */
export class ViewFeed {
  readonly #reactor: Reactor;
  readonly #view: ClusterView;
  readonly #sessions: Sessions;
  readonly #members = new Set<ProxyId>();
  readonly #claims = new Map<string, ClaimSlot>();
  /** The last revision at which anything visible changed: every receiver's stamp. */
  #stamp: Stamp | undefined;
  #repeating = false;

  constructor(reactor: Reactor, view: ClusterView, sessions: Sessions) {
    this.#reactor = reactor;
    this.#view = view;
    this.#sessions = sessions;
  }

  get stamp(): Stamp | undefined {
    return this.#stamp;
  }

  changed(changes: ViewChanges): void {
    for (const proxy of changes.members) this.#members.add(proxy);
    for (const [key, slot] of changes.claims) this.#claims.set(key, slot);
  }

  /** Ends the turn with a delta, even one that changes nothing. */
  repeat(): void {
    this.#repeating = true;
  }

  /** No delta leads on from what was sent. */
  restart(): void {
    this.#stamp = undefined;
    for (const session of this.#sessions.all()) if (session.feed === 'current') session.feed = 'stale';
  }

  /** Ends a turn. */
  flush(): void {
    if (this.#stamp === undefined || this.#stamp.epoch !== this.#view.epoch) this.#begin();
    else if (this.#repeating || this.#members.size > 0 || this.#claims.size > 0) this.#sendDelta(this.#stamp);
    this.#repeating = false;
    this.#sendFull();
  }

  #begin(): void {
    this.restart();
    this.#members.clear();
    this.#claims.clear();
    this.#stamp = this.#view.stamp;
  }

  #sendDelta(from: Stamp): void {
    const message = { type: 'viewDelta', ...this.#view.delta(from, this.#members, this.#claims) } as const;
    this.#members.clear();
    this.#claims.clear();
    this.#stamp = message.to;
    for (const session of this.#sessions.all()) {
      if (session.feed !== 'current') continue;
      if (!session.flowing) {
        session.feed = 'stale';
        continue;
      }
      this.#reactor.count('viewDeltas');
      this.#reactor.emit({ type: 'send', session: session.id, message });
    }
  }

  #sendFull(): void {
    const stamp = this.#stamp;
    const waiting = this.#sessions.all().filter((session) => session.feed === 'stale' && session.flowing);
    if (stamp === undefined) return;
    let message: ({ readonly type: 'view' } & ReturnType<ClusterView['full']>) | undefined;
    for (const session of waiting) {
      if (!this.#knows(session.attached)) continue;
      message ??= { type: 'view', ...this.#view.full(stamp) };
      session.feed = 'current';
      this.#reactor.count('views');
      this.#reactor.emit({ type: 'send', session: session.id, message });
    }
  }

  /** A root proxy's first view shows itself. */
  #knows(attached: Attached | undefined): boolean {
    if (attached === undefined) return false;
    return this.#view.member(attached.hello.proxy)?.incarnation === attached.incarnation;
  }
}
