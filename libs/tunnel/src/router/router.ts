import { assert, unreachable } from '../assert.ts';
import type { DialOutcome, ResetReason } from '../codes.ts';
import type { Instant } from '../time.ts';
import { chooseTunnel, TunnelTable } from './tunnels.ts';
import type { TunnelEntry } from './tunnels.ts';
import { LeafDirectory } from './leaves.ts';
import type { DialWay, RouterConfig, RouterEffect, RouterEvent, RouterStatus } from './types.ts';

type DialRequested = Extract<RouterEvent, { type: 'dialRequested' }>;

/** A dial without its report yet. */
interface PendingDial {
  readonly request: DialRequested;
  readonly deadline: Instant;
  /** The one tunnel it was sent to, or the peer that is asked now. */
  way: { readonly kind: 'tunnel'; readonly entry: TunnelEntry } | { readonly kind: 'peer'; readonly proxy: string };
  /** Peers asked so far. */
  readonly tried: Set<string>;
}

/** Peer answers that promise the node was never dialled, so another peer may be asked. */
const NOT_DIALLED: ReadonlySet<DialOutcome> = new Set(['leaf-offline', 'no-such-leaf']);

/**
 * Decides which way each dial takes at one root proxy, and answers each dial exactly once. Performs no I/O and reads
 * no clock.
 *
 * Order of preference: a claimed tunnel of the leaf cluster held here (fewest connections first), a ready peer that
 * holds a claim, a draining tunnel held here, a draining peer. A dial that came from a peer (`hops` 1) never leaves
 * again. Without any of these the answer is `leaf-offline`, or `no-such-leaf` when the leaf cluster was never heard of.
 *
 * A dial is sent to at most one tunnel and never repeated: when that tunnel is lost first, the answer is `tunnel-lost`.
 * Only a forward that certainly dialled nothing moves on to the next peer.
 *
 * Use: `handle(event, now)`, then `pollEffect()` until undefined; `handle({ type: 'timeout' }, now)` at `nextTimeout()`.
 */
export class DialRouter {
  readonly #config: RouterConfig;
  readonly #tunnels = new TunnelTable();
  readonly #leaves: LeafDirectory;
  readonly #pending = new Map<string, PendingDial>();
  readonly #pendingPerLeaf = new Map<string, number>();
  readonly #open = new Map<string, TunnelEntry | undefined>();
  readonly #effects: RouterEffect[] = [];

  constructor(config: RouterConfig) {
    this.#config = config;
    this.#leaves = new LeafDirectory(config.maxKnownLeaves);
  }

  /** The only mutator. `now` never goes backwards. */
  handle(event: RouterEvent, now: Instant): void {
    switch (event.type) {
      case 'tunnelAttached':
        this.#leaves.remember(event.leaf);
        return this.#tunnels.attach(event.tunnel, event.leaf, event.agent, event.nodes);
      case 'tunnelClaimed':
        this.#tunnel(event.tunnel).claim = { incarnation: event.incarnation, token: event.token };
        return;
      case 'tunnelDraining':
        this.#tunnel(event.tunnel).draining = true;
        return;
      case 'tunnelClosed':
        return this.#tunnelClosed(event.tunnel);
      case 'holdersViewed':
        return this.#leaves.replace(event.holders);
      case 'holdersChanged':
        return this.#leaves.change(event.leaf, event.holders);
      case 'dialRequested':
        return this.#dialRequested(event, now);
      case 'dialAnswered':
        return this.#dialAnswered(event);
      case 'forwardAnswered':
        return this.#forwardAnswered(event, now);
      case 'forwardFailed':
        return this.#forwardFailed(event, now);
      case 'dialAbandoned':
        return this.#dialAbandoned(event.connection);
      case 'connectionClosed':
        return this.#connectionClosed(event.connection);
      case 'timeout':
        return this.#timeout(now);
      default:
        return unreachable(event);
    }
  }

  /** The next thing to do, or undefined when all is done; drain after every `handle`. */
  pollEffect(): RouterEffect | undefined {
    return this.#effects.shift();
  }

  /** When `timeout` is due: the earliest deadline of a pending dial. */
  nextTimeout(): Instant | undefined {
    let earliest: Instant | undefined;
    for (const dial of this.#pending.values()) {
      if (earliest === undefined || dial.deadline < earliest) earliest = dial.deadline;
    }
    return earliest;
  }

  status(): RouterStatus {
    const waiting = [...this.#pending.values()].filter((dial) => dial.way.kind === 'peer').length;
    const through = [...this.#open.values()].filter((entry) => entry === undefined).length;
    return {
      tunnels: this.#tunnels.status(),
      pendingDials: this.#pending.size,
      openConnections: this.#open.size,
      forwarded: waiting + through,
      knownLeaves: this.#leaves.size,
    };
  }

  #tunnel(name: string): TunnelEntry {
    const entry = this.#tunnels.get(name);
    assert(entry !== undefined, `tunnel ${name} is not attached`);
    return entry;
  }

  #tunnelClosed(name: string): void {
    const entry = this.#tunnels.get(name);
    if (entry === undefined) return;
    this.#tunnels.remove(entry);
    for (const connection of [...entry.pending]) {
      this.#finish(
        connection,
        'tunnel-lost',
        `the tunnel to leaf cluster ${entry.leaf} was lost before the outcome was known`,
      );
    }
  }

  #dialRequested(request: DialRequested, now: Instant): void {
    const known = this.#pending.has(request.connection) || this.#open.has(request.connection);
    assert(!known, `connection ${request.connection} requested twice`);
    if (!Number.isInteger(request.port) || request.port < 0 || request.port > 65_535) {
      return this.#report(request.connection, 'invalid', `port ${request.port} is not within 1 to 65535`);
    }
    if (request.hops > 1) {
      return this.#report(
        request.connection,
        'invalid',
        `the dial passed ${request.hops} root proxies, the limit is 1`,
      );
    }
    if (this.#pending.size >= this.#config.maxPending) {
      return this.#report(
        request.connection,
        'overloaded',
        `${this.#config.maxPending} dials are waiting at this root proxy, try again later`,
      );
    }
    if ((this.#pendingPerLeaf.get(request.leaf) ?? 0) >= this.#config.maxPendingPerLeaf) {
      const detail = `${this.#config.maxPendingPerLeaf} dials to leaf cluster ${request.leaf} are waiting, try again later`;
      return this.#report(request.connection, 'overloaded', detail);
    }
    const wanted = request.timeoutMs === 0 ? this.#config.defaultTimeoutMs : request.timeoutMs;
    const deadline = now + Math.min(wanted, this.#config.maxTimeoutMs);
    this.#route(request, deadline, new Set(), now);
  }

  /** Takes the best way left, or reports that there is none. The dial is not in the pending table when this is called. */
  #route(request: DialRequested, deadline: Instant, tried: Set<string>, now: Instant): void {
    const peer = (ready: boolean): string | undefined =>
      request.hops === 0 ? this.#leaves.choose(request.leaf, ready, tried, request.random) : undefined;
    const ready = this.#tunnels.serving(request.leaf, false);
    if (ready.length > 0) return this.#sendDial(request, ready, deadline, now);
    const readyPeer = peer(true);
    if (readyPeer !== undefined) return this.#forward(request, readyPeer, deadline, tried, now);
    const draining = this.#tunnels.serving(request.leaf, true);
    if (draining.length > 0) return this.#sendDial(request, draining, deadline, now);
    const drainingPeer = peer(false);
    if (drainingPeer !== undefined) return this.#forward(request, drainingPeer, deadline, tried, now);
    if (!this.#leaves.known(request.leaf)) {
      return this.#report(request.connection, 'no-such-leaf', `no leaf cluster named ${request.leaf} is known`);
    }
    const detail = this.#tunnels.attached(request.leaf)
      ? `no agent of leaf cluster ${request.leaf} holds a claim here or at a peer yet`
      : `no agent of leaf cluster ${request.leaf} is connected`;
    this.#report(request.connection, 'leaf-offline', detail);
  }

  #sendDial(request: DialRequested, candidates: readonly TunnelEntry[], deadline: Instant, now: Instant): void {
    const choice = chooseTunnel(candidates, request, this.#config.maxConnectionsPerTunnel, request.random);
    if (choice.kind !== 'tunnel') return this.#report(request.connection, choice.kind, choice.detail);
    const { entry, port } = choice;
    const claim = entry.claim;
    assert(claim !== undefined, `tunnel ${entry.tunnel} chosen without a claim`);
    entry.pending.add(request.connection);
    this.#addPending({ request, deadline, way: { kind: 'tunnel', entry }, tried: new Set() });
    this.#effects.push({
      type: 'sendDial',
      connection: request.connection,
      tunnel: entry.tunnel,
      leaf: request.leaf,
      node: request.node,
      port,
      user: request.user,
      timeoutMs: budget(deadline - now),
      incarnation: claim.incarnation,
      token: claim.token,
    });
  }

  #forward(request: DialRequested, proxy: string, deadline: Instant, tried: Set<string>, now: Instant): void {
    tried.add(proxy);
    this.#addPending({ request, deadline, way: { kind: 'peer', proxy }, tried });
    const { connection, leaf, node, port, user } = request;
    this.#effects.push({
      type: 'forward',
      connection,
      proxy,
      leaf,
      node,
      port,
      user,
      timeoutMs: budget(deadline - now),
    });
  }

  #dialAnswered(event: Extract<RouterEvent, { type: 'dialAnswered' }>): void {
    const dial = this.#pending.get(event.connection);
    if (dial === undefined) {
      const detail = this.#open.has(event.connection)
        ? 'this connection is open already'
        : 'nobody waits for this connection';
      return this.#refuse(event.connection, event.tunnel, 'cancelled', detail);
    }
    if (dial.way.kind !== 'tunnel' || dial.way.entry.tunnel !== event.tunnel) {
      return this.#refuse(event.connection, event.tunnel, 'denied', 'this connection was asked of another tunnel');
    }
    this.#finish(event.connection, event.outcome, event.detail);
  }

  #forwardAnswered(event: Extract<RouterEvent, { type: 'forwardAnswered' }>, now: Instant): void {
    const dial = this.#pending.get(event.connection);
    if (dial === undefined || dial.way.kind !== 'peer') return;
    if (NOT_DIALLED.has(event.outcome)) return this.#nextPeer(dial, now);
    this.#finish(event.connection, event.outcome, event.detail);
  }

  #forwardFailed(event: Extract<RouterEvent, { type: 'forwardFailed' }>, now: Instant): void {
    const dial = this.#pending.get(event.connection);
    if (dial === undefined || dial.way.kind !== 'peer') return;
    if (!event.sent) return this.#nextPeer(dial, now);
    this.#finish(
      event.connection,
      'tunnel-lost',
      `root proxy ${dial.way.proxy} was lost before the outcome was known: ${event.detail}`,
    );
  }

  #nextPeer(dial: PendingDial, now: Instant): void {
    this.#removePending(dial);
    this.#route(dial.request, dial.deadline, dial.tried, now);
  }

  #dialAbandoned(connection: string): void {
    const dial = this.#pending.get(connection);
    if (dial === undefined) return;
    this.#removePending(dial);
    this.#cancelWay(connection, dial);
  }

  #connectionClosed(connection: string): void {
    const entry = this.#open.get(connection);
    if (entry !== undefined) entry.open -= 1;
    this.#open.delete(connection);
  }

  #timeout(now: Instant): void {
    for (const dial of [...this.#pending.values()]) {
      if (dial.deadline > now) continue;
      const { connection, node, leaf } = dial.request;
      this.#cancelWay(connection, dial);
      this.#finish(connection, 'timed-out', `node ${node}.${leaf} gave no answer in time`);
    }
  }

  #cancelWay(connection: string, dial: PendingDial): void {
    if (dial.way.kind === 'tunnel')
      this.#effects.push({ type: 'sendCancel', connection, tunnel: dial.way.entry.tunnel });
    else this.#effects.push({ type: 'cancelForward', connection });
  }

  /** The one report of a pending dial. */
  #finish(connection: string, outcome: DialOutcome, detail: string): void {
    const dial = this.#pending.get(connection);
    assert(dial !== undefined, `connection ${connection} is not pending`);
    this.#removePending(dial);
    const entry = dial.way.kind === 'tunnel' ? dial.way.entry : undefined;
    if (outcome === 'connected') {
      if (entry !== undefined) entry.open += 1;
      this.#open.set(connection, entry);
    }
    this.#report(connection, outcome, outcome === 'connected' ? '' : detail, wayOf(dial));
  }

  #report(connection: string, outcome: DialOutcome, detail: string, way: DialWay = { kind: 'none' }): void {
    this.#effects.push({ type: 'report', connection, outcome, detail, way });
  }

  #refuse(connection: string, tunnel: string, reason: ResetReason, detail: string): void {
    this.#effects.push({ type: 'refuseStream', connection, tunnel, reason, detail });
  }

  #addPending(dial: PendingDial): void {
    this.#pending.set(dial.request.connection, dial);
    this.#pendingPerLeaf.set(dial.request.leaf, (this.#pendingPerLeaf.get(dial.request.leaf) ?? 0) + 1);
  }

  #removePending(dial: PendingDial): void {
    this.#pending.delete(dial.request.connection);
    if (dial.way.kind === 'tunnel') dial.way.entry.pending.delete(dial.request.connection);
    const left = (this.#pendingPerLeaf.get(dial.request.leaf) ?? 0) - 1;
    if (left > 0) this.#pendingPerLeaf.set(dial.request.leaf, left);
    else this.#pendingPerLeaf.delete(dial.request.leaf);
  }
}

function wayOf(dial: PendingDial): DialWay {
  if (dial.way.kind === 'peer') return { kind: 'peer', proxy: dial.way.proxy };
  return { kind: 'tunnel', tunnel: dial.way.entry.tunnel, agent: dial.way.entry.agent };
}

/** What the next hop may spend of `leftMs`: a part is kept back so that its precise answer arrives before our deadline. */
function budget(leftMs: number): number {
  return Math.max(1, Math.floor(leftMs - Math.min(500, leftMs / 4)));
}
