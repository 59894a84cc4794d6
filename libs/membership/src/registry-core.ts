import { assert, unreachable } from './assert.ts';
import { Acquires } from './acquire.ts';
import { ClusterView } from './cluster-view.ts';
import type { ViewChanges } from './cluster-view.ts';
import { Continuity } from './continuity.ts';
import { Departures } from './departure.ts';
import { EpochKeeper } from './epoch-keeper.ts';
import { SignedEvidence } from './evidence.ts';
import { toFence } from './fence.ts';
import { Heartbeats } from './heartbeats.ts';
import { checkHello } from './hello-check.ts';
import type { Hello, SessionRequest, ViewMember } from './messages.ts';
import { PendingRequests } from './pending.ts';
import { Reactor } from './reactor.ts';
import { Readiness } from './readiness.ts';
import { Registration } from './registration.ts';
import { Releases } from './release.ts';
import { ReplicaLease } from './replica-lease.ts';
import { Seats } from './seats.ts';
import type { Session } from './session.ts';
import { Sessions } from './sessions.ts';
import type { KeyValue, StoreEvent } from './store.ts';
import type { Instant } from './time.ts';
import type { RegistryConfig, RegistryEffect, RegistryEvent, RegistryStatus } from './types.ts';
import { ViewFeed } from './view-feed.ts';
import { WatchCursor } from './watch-cursor.ts';

/**
 * Decides everything one registry replica does: who is a member, who attends whom, which claims are recorded, what
 * every root proxy is told. Performs no I/O and reads no clock. Any number of replicas run on one store; what they
 * may not do at the same time, the store's transactions forbid.
 */
export class RegistryCore {
  readonly #reactor: Reactor;
  readonly #view = new ClusterView();
  readonly #sessions: Sessions;
  readonly #lease: ReplicaLease;
  readonly #epoch: EpochKeeper;
  readonly #cursor: WatchCursor;
  readonly #feed: ViewFeed;
  readonly #pending: PendingRequests;
  readonly #heartbeats: Heartbeats;
  readonly #seats: Seats;
  readonly #registration: Registration;
  readonly #acquires: Acquires;
  readonly #releases: Releases;
  readonly #departures: Departures;
  readonly #evidence: SignedEvidence;
  readonly #continuity: Continuity;
  readonly #readiness: Readiness;
  /** The next list is that of a restored store: what it lacks is gone, whatever the revisions say. */
  #restored = false;
  #stopping = false;

  constructor(config: RegistryConfig, now: Instant) {
    const reactor = new Reactor(config, now);
    const view = this.#view;
    const sessions = new Sessions(reactor);
    const lease = new ReplicaLease(reactor, () => this.#leaseGranted());
    const epoch = new EpochKeeper(reactor, view);
    const pending = new PendingRequests(reactor);
    const seats = new Seats(reactor, view, sessions, lease, (session) => pending.resume(session));
    this.#reactor = reactor;
    this.#sessions = sessions;
    this.#lease = lease;
    this.#epoch = epoch;
    this.#pending = pending;
    this.#seats = seats;
    this.#cursor = new WatchCursor(reactor, {
      listed: (kvs, revision) => this.#listed(kvs, revision),
      advanced: (events, revision) => this.#advanced(events, revision),
    });
    this.#feed = new ViewFeed(reactor, view, sessions);
    this.#heartbeats = new Heartbeats(reactor, sessions);
    const onAttached = (session: Session, resumed: boolean, since: Instant): void =>
      this.#attached(session, resumed, since);
    const continuity = new Continuity({
      reactor,
      view,
      lease,
      epoch,
      onKnown: () => this.#registration.stepAll(),
    });
    this.#continuity = continuity;
    this.#registration = new Registration({ reactor, view, sessions, seats, lease, epoch, continuity, onAttached });
    this.#acquires = new Acquires({ reactor, view, sessions, seats, epoch, pending });
    this.#releases = new Releases({ reactor, sessions, pending });
    this.#departures = new Departures({ reactor, sessions, pending });
    this.#evidence = new SignedEvidence(reactor, view, epoch);
    this.#readiness = new Readiness({ reactor, lease, epoch, cursor: this.#cursor });
    sessions.onEnding = (session) => this.#ending(session);
    reactor.onRestored = (detail) => this.#storeRestored(detail);
    reactor.onDoubt = (detail) => this.#cursor.restart(`another raft term answers: ${detail}`);
    lease.start();
    this.#cursor.start();
  }

  /** The only mutator; `now` never goes backwards. */
  handle(event: RegistryEvent, now: Instant): void {
    assert(now >= this.#reactor.now, 'time went backwards');
    this.#reactor.now = now;
    this.#dispatch(event);
    this.#turnEnded();
  }

  /** Drain to undefined after every `handle`, and once after the constructor. */
  pollEffect(): RegistryEffect | undefined {
    return this.#reactor.pollEffect();
  }

  /** When `timeout` is due. */
  nextTimeout(): Instant | undefined {
    return this.#reactor.deadlines.next();
  }

  /** Whether views can be given and claims recorded; `why` not, in a few words. */
  readiness(): { readonly ready: boolean; readonly why: string } {
    const why = this.#stopping ? 'shutting down' : this.#readiness.whyNot();
    return { ready: why === '', why };
  }

  /** Every member as of now, sorted by name: what a view or delta that was just sent leads to. */
  members(): readonly ViewMember[] {
    return this.#view.members();
  }

  status(): RegistryStatus {
    return {
      ...this.readiness(),
      stamp: this.#feed.stamp,
      members: this.#view.memberCount,
      claims: this.#view.claimCount,
      watch: this.#cursor.status,
      sessions: this.#sessions.all().map((session) => ({
        session: session.id,
        proxy: session.hello?.proxy ?? '',
        address: session.address,
        state: session.state.kind,
        incarnation: session.membership?.incarnation ?? 0n,
        leaseValidMs: session.membership?.lease.remainingMs(this.#reactor.now) ?? 0,
        pending: session.membership?.pending.size ?? 0,
      })),
      operationsInFlight: this.#reactor.operationsInFlight,
      operationsWaiting: this.#reactor.operationsWaiting,
      counters: { ...this.#reactor.counters },
    };
  }

  #dispatch(event: RegistryEvent): void {
    switch (event.type) {
      case 'sessionOpened':
        return this.#opened(event);
      case 'messageReceived':
        return this.#received(this.#sessions.get(event.session), event.message);
      case 'sessionStalled':
        return this.#flow(this.#sessions.get(event.session), false);
      case 'sessionFlowing':
        return this.#flow(this.#sessions.get(event.session), true);
      case 'sessionClosed':
        return this.#closed(this.#sessions.get(event.session));
      case 'storeReplied':
        return this.#reactor.replied(event.operation, event.outcome);
      case 'leaseKeptAlive':
        this.#reactor.heardFromStore();
        this.#lease.keptAlive(event.lease, event.sentAt, event.ttlMs);
        return this.#heartbeats.acknowledged(event.lease, event.sentAt, event.ttlMs);
      case 'watchOpened':
        return this.#cursor.opened(event.watch);
      case 'watchAdvanced':
        return this.#cursor.advanced(event.watch, event.events, event.revision);
      case 'watchCompacted':
        return this.#cursor.compacted(event.watch);
      case 'watchLost':
        return this.#cursor.lost(event.watch);
      case 'attestationDue':
        return this.#feed.repeat();
      case 'shutdownRequested':
        return this.#shutDown();
      case 'timeout':
        return this.#timeout();
      default:
        return unreachable(event);
    }
  }

  #opened(event: Extract<RegistryEvent, { readonly type: 'sessionOpened' }>): void {
    const session = this.#sessions.open(event.session, event.identity, event.address, event.since);
    if (this.#stopping) return this.#sessions.refuse(session, 'shutdown', this.#shutdownDetail());
    const { maxSessions } = this.#reactor.config;
    if (this.#sessions.size > maxSessions) {
      this.#sessions.refuse(
        session,
        'store-unavailable',
        `this registry attends ${maxSessions} proxies already; try another`,
      );
    }
  }

  #received(session: Session | undefined, message: SessionRequest): void {
    if (session === undefined) return;
    this.#sessions.heard(session);
    if (message.type === 'hello') return this.#hello(session, message);
    const { attached } = session;
    // A heartbeat before the welcome, or anything after `leave`, is no fault.
    if (session.state.kind === 'leaving' || (attached === undefined && message.type === 'heartbeat')) return;
    if (attached === undefined) return this.#sessions.refuse(session, 'invalid', `${message.type} before the welcome`);
    switch (message.type) {
      case 'heartbeat':
        return this.#heartbeats.received(session, attached, message.sequence);
      case 'acquire':
        return this.#acquires.handle(session, attached, message);
      case 'release':
        return this.#releases.handle(session, attached, message);
      case 'drain':
        return this.#departures.drain(session, attached);
      case 'leave':
        return this.#departures.leave(session, attached);
      case 'evidence':
        return this.#evidence.shown(message.stamp, attached.hello.proxy);
      default:
        return unreachable(message);
    }
  }

  #hello(session: Session, hello: Hello): void {
    if (session.state.kind !== 'opened') return this.#sessions.refuse(session, 'invalid', 'a second hello');
    const checked = checkHello(hello, session.identity);
    if ('code' in checked) return this.#sessions.refuse(session, checked.code, checked.detail);
    this.#registration.begin(session, checked);
  }

  #attached(session: Session, resumed: boolean, since: Instant): void {
    const { attached } = session;
    assert(attached !== undefined, 'a session that is not attached was greeted');
    const { config } = this.#reactor;
    const { incarnation, hello, lease } = attached;
    this.#reactor.count(resumed ? 'resumes' : 'registrations');
    this.#reactor.report({
      type: 'registered',
      proxy: hello.proxy,
      incarnation,
      resumed,
      tookMs: this.#reactor.now - since,
    });
    this.#reactor.emit({
      type: 'send',
      session: session.id,
      message: {
        type: 'welcome',
        version: hello.version,
        registry: config.registry,
        incarnation,
        lease: lease.id,
        leaseTtlMs: lease.ttlMs > 0 ? lease.ttlMs : config.leaseTtlMs,
        heartbeatIntervalMs: config.heartbeatIntervalMs,
      },
    });
    session.feed = 'stale';
    this.#heartbeats.keepAlive(attached);
  }

  #flow(session: Session | undefined, flowing: boolean): void {
    if (session !== undefined) session.flowing = flowing;
  }

  #closed(session: Session | undefined): void {
    if (session !== undefined) this.#sessions.end(session, 'closed', 'the stream ended');
  }

  /** Gives back what the session holds in the store, unless a newer session of the same instance goes on with it. */
  #ending(session: Session): void {
    this.#pending.ended(session);
    this.#heartbeats.ended(session);
    this.#registration.ended(session);
    this.#reactor.deadlines.cancel(`seat:${session.id}`);
    const { hello, seat } = session;
    if (hello === undefined) return;
    const goesOn = this.#sessions.of(hello.proxy).some((other) => other.hello?.nonce === hello.nonce);
    if (goesOn) return;
    if (seat === undefined) this.#seats.inspect([hello.proxy]);
    else this.#seats.vacate(hello.proxy, seat.modRevision);
  }

  #leaseGranted(): void {
    this.#seats.softenAll();
    this.#registration.retake();
  }

  #listed(kvs: readonly KeyValue[], revision: bigint): void {
    const contradicted = this.#view.contradictedBy(kvs);
    const changes = this.#view.replace(kvs, revision);
    if (!this.#restored && (contradicted || this.#epoch.wentBack())) {
      this.#noteRestore('the list contradicts what was seen before');
    }
    const restored = this.#restored;
    this.#restored = false;
    if (restored) this.#feed.restart();
    this.#apply(changes);
    if (restored) this.#seats.restored();
    for (const session of this.#sessions.all()) this.#inspectMember(session);
  }

  #advanced(events: readonly StoreEvent[], revision: bigint): void {
    this.#apply(this.#view.advance(events, revision));
  }

  #apply(changes: ViewChanges): void {
    for (const key of changes.malformed) this.#reactor.report({ type: 'malformedRecord', key });
    this.#feed.changed(changes);
    this.#epoch.ensure();
    this.#continuity.viewed(changes.questions);
    if (changes.epoch) for (const session of this.#sessions.all()) this.#inspectMember(session);
    for (const proxy of changes.members) for (const session of this.#sessions.of(proxy)) this.#inspectMember(session);
    this.#seats.inspect(changes.sessions);
    this.#registration.inspect(changes.sessions);
  }

  /**
   * Evicts a session whose member record is gone, or from an epoch before a restore: incarnations and tokens have to
   * go on above all that were ever given. A view from before the registration says nothing.
   */
  #inspectMember(session: Session): void {
    const { attached } = session;
    if (attached === undefined) return;
    const { epoch = 0n } = this.#view;
    if (toFence(attached.incarnation).epoch < epoch)
      return this.#sessions.evict(session, 'the store was restored from a backup');
    if (this.#view.member(attached.hello.proxy)?.incarnation === attached.incarnation) return;
    if (this.#view.revision >= attached.createRevision) this.#sessions.evict(session, 'the member record is gone');
  }

  #storeRestored(detail: string): void {
    this.#noteRestore(detail);
    this.#reactor.timeline.reset();
    this.#cursor.restart('the store was restored');
  }

  #noteRestore(detail: string): void {
    this.#restored = true;
    this.#reactor.count('restores');
    this.#registration.restored();
    this.#reactor.report({ type: 'storeRestored', detail, epoch: this.#epoch.raise() });
  }

  #shutDown(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#readiness.stop();
    this.#seats.stop();
    for (const session of this.#sessions.all()) this.#sessions.refuse(session, 'shutdown', this.#shutdownDetail());
    this.#cursor.stop();
    this.#lease.stop(() => this.#reactor.emit({ type: 'stopped' }));
  }

  #shutdownDetail(): string {
    return `registry ${this.#reactor.config.registry} is shutting down; go to another`;
  }

  #timeout(): void {
    for (;;) {
      const due = this.#reactor.deadlines.takeDue(this.#reactor.now);
      if (due === undefined) return;
      due.run(due.lateMs);
    }
  }

  #turnEnded(): void {
    if (this.#epoch.current !== undefined) this.#feed.flush();
    if (!this.#readiness.turnEnded()) return;
    this.#reactor.report({ type: 'storeAnswers', stamp: this.#view.stamp });
    this.#registration.stepAll();
    for (const session of this.#sessions.all()) this.#pending.resume(session);
  }
}
