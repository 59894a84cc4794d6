import { isSessionId } from './ids.ts';
import type { LeaseId, ProxyId, SessionId } from './ids.ts';
import type { RefusalCode } from './messages.ts';
import type { Reactor } from './reactor.ts';
import type { SessionRecord } from './records.ts';
import { Session } from './session.ts';
import type { CloseReason, SessionIdentity } from './types.ts';

/** Lateness from which our own event loop, not the peer, is taken for the cause of a missed deadline. */
const OWN_LAG_MS = 500;

/** All sessions of this replica, and the only place where one ends. */
export class Sessions {
  readonly #reactor: Reactor;
  readonly #byId = new Map<SessionId, Session>();
  readonly #byProxy = new Map<ProxyId, Set<Session>>();
  readonly #byLease = new Map<LeaseId, Session>();
  /** Set once: gives back what the session held, before its state is lost. */
  onEnding: (session: Session) => void = () => undefined;

  constructor(reactor: Reactor) {
    this.#reactor = reactor;
  }

  get size(): number {
    return this.#byId.size;
  }

  get(id: SessionId): Session | undefined {
    return this.#byId.get(id);
  }

  /** In order of opening. */
  all(): readonly Session[] {
    return [...this.#byId.values()];
  }

  of(proxy: ProxyId): readonly Session[] {
    return [...(this.#byProxy.get(proxy) ?? [])];
  }

  byLease(lease: LeaseId): Session | undefined {
    return this.#byLease.get(lease);
  }

  /** Whether a session key was put by this process for a session that is over. */
  isAbandoned(record: SessionRecord): boolean {
    return this.#isOwn(record) && !(isSessionId(record.session) && this.#byId.has(record.session));
  }

  /** Whether a session key was put by an earlier process under this replica's name, which has ended since: names are unique. */
  isOfFormerLife(record: SessionRecord): boolean {
    return record.registry === this.#reactor.config.registry && record.boot !== this.#reactor.config.boot;
  }

  /** Whether a session key was put for this session. */
  isSeatOf(record: SessionRecord, session: Session): boolean {
    return this.#isOwn(record) && record.session === session.id;
  }

  open(id: SessionId, identity: SessionIdentity, address: string, since: string): Session {
    const session = new Session(id, identity, address, since);
    this.#byId.set(id, session);
    this.#reactor.count('sessions');
    this.#watchSilence(session);
    return session;
  }

  /** The session has said which proxy it is. */
  named(session: Session, proxy: ProxyId): void {
    const sessions = this.#byProxy.get(proxy) ?? new Set();
    this.#byProxy.set(proxy, sessions.add(session));
  }

  leased(session: Session, lease: LeaseId): void {
    this.#byLease.set(lease, session);
  }

  /** A message came: the other end is alive. */
  heard(session: Session): void {
    this.#watchSilence(session);
  }

  refuse(session: Session, code: RefusalCode, detail: string): void {
    const { proxy = '' } = session.hello ?? {};
    this.#reactor.count('refusals');
    this.#reactor.report({ type: 'refused', proxy, address: session.address, code, detail });
    this.#reactor.emit({ type: 'send', session: session.id, message: { type: 'refused', code, detail } });
    this.end(session, 'answered', `${code}: ${detail}`);
  }

  /** The member record this session stands for is gone or belongs to another incarnation. */
  evict(session: Session, detail: string): void {
    const { attached } = session;
    if (attached === undefined) return;
    this.#reactor.count('evictions');
    this.#reactor.report({ type: 'evicted', proxy: attached.hello.proxy, incarnation: attached.incarnation, detail });
    this.#reactor.emit({ type: 'send', session: session.id, message: { type: 'evicted', detail } });
    this.end(session, 'answered', detail);
  }

  end(session: Session, reason: CloseReason, detail: string): void {
    if (session.state.kind === 'closed') return;
    const { hello } = session;
    const lease = session.membership?.lease.id;
    this.#byId.delete(session.id);
    this.#reactor.deadlines.cancel(silenceName(session));
    if (lease !== undefined && this.#byLease.get(lease) === session) this.#byLease.delete(lease);
    if (hello !== undefined) this.#forgetName(session, hello.proxy);
    this.onEnding(session);
    session.move({ kind: 'closed' });
    if (reason !== 'closed') this.#reactor.emit({ type: 'closeSession', session: session.id, reason, detail });
    this.#reactor.report({ type: 'sessionEnded', proxy: hello?.proxy ?? '', reason, detail });
  }

  #isOwn(record: SessionRecord): boolean {
    return record.registry === this.#reactor.config.registry && record.boot === this.#reactor.config.boot;
  }

  #forgetName(session: Session, proxy: ProxyId): void {
    const sessions = this.#byProxy.get(proxy);
    sessions?.delete(session);
    if (sessions?.size === 0) this.#byProxy.delete(proxy);
  }

  /** A deadline that our own loop made late is given once more, so that a paused registry drops nobody on waking. */
  #watchSilence(session: Session): void {
    const { sessionTimeoutMs, heartbeatIntervalMs } = this.#reactor.config;
    const expired = (lateMs: number): void => {
      if (lateMs > OWN_LAG_MS) this.#reactor.after(silenceName(session), 2 * heartbeatIntervalMs, expired);
      else this.end(session, 'silent', `no message for ${sessionTimeoutMs} ms`);
    };
    this.#reactor.after(silenceName(session), sessionTimeoutMs, expired);
  }
}

function silenceName(session: Session): string {
  return `silence:${session.id}`;
}
