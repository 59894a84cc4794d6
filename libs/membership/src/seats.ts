import type { ClusterView, SessionEntry } from './cluster-view.ts';
import { readMember } from './cluster-view.ts';
import type { ProxyId } from './ids.ts';
import { memberKey, sessionKey } from './keys.ts';
import type { Reactor, TxnOutcome } from './reactor.ts';
import { found } from './reactor.ts';
import { decodeSession, encodeRecord } from './records.ts';
import type { ReplicaLease } from './replica-lease.ts';
import type { Attached, CheckedHello, Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import type { KeyValue, TxnStep } from './store.ts';

export function readSession(proxy: ProxyId, kv: KeyValue): SessionEntry | undefined {
  const record = decodeSession(kv.value);
  return record === undefined ? undefined : { proxy, record, kv };
}

/**
 * Session keys of this replica. Rules:
 * - A seat is *firm* while the key has the mod revision that the session knows. Claims are only written from a firm seat.
 * - After an operation of unknown outcome, or with a new replica lease, the key is put again; that voids every write on its
 *   way that compares the old mod revision, so what is read afterwards stays true.
 * - A key of this process that no living session backs is deleted, whatever put it there.
 */
export class Seats {
  readonly #reactor: Reactor;
  readonly #view: ClusterView;
  readonly #sessions: Sessions;
  readonly #lease: ReplicaLease;
  readonly #onFirm: (session: Session) => void;
  readonly #vacating = new Set<ProxyId>();
  #stopped = false;

  constructor(
    reactor: Reactor,
    view: ClusterView,
    sessions: Sessions,
    lease: ReplicaLease,
    onFirm: (session: Session) => void,
  ) {
    this.#reactor = reactor;
    this.#view = view;
    this.#sessions = sessions;
    this.#lease = lease;
    this.#onFirm = onFirm;
  }

  /** The step that puts the session key; undefined without a replica lease. */
  putStep(session: Session, hello: CheckedHello): TxnStep | undefined {
    const lease = this.#lease.id;
    if (lease === undefined) return undefined;
    const { registry, boot } = this.#reactor.config;
    const value = encodeRecord({
      registry,
      boot,
      session: session.id,
      nonce: hello.nonce,
      address: session.address,
      since: session.since,
    });
    return { type: 'put', key: sessionKey(hello.proxy), value, lease };
  }

  /** Puts the session key again. Until that is done the session's claims wait. */
  soften(session: Session): void {
    const { attached } = session;
    if (attached === undefined) return;
    attached.seatFirm = false;
    if (!attached.seatBusy) this.#firm(session, attached);
  }

  /** A new replica lease: every key went with the old one. */
  softenAll(): void {
    for (const session of this.#sessions.all()) this.soften(session);
  }

  /** The session is over: its key goes at once, so that a restarted proxy need not wait. */
  vacate(proxy: ProxyId, modRevision: bigint): void {
    if (this.#stopped || this.#vacating.has(proxy)) return;
    this.#vacating.add(proxy);
    this.#delete(proxy, modRevision, 1);
  }

  /** Looks at the session keys of these proxies as the view has them now. */
  inspect(proxies: Iterable<ProxyId>): void {
    for (const proxy of proxies) {
      const entry = this.#view.session(proxy);
      if (entry !== undefined && this.#sessions.isAbandoned(entry.record)) this.vacate(proxy, entry.kv.modRevision);
      for (const session of this.#sessions.of(proxy)) this.#compare(session, entry);
    }
  }

  /**
   * The view is that of a restored store. Keys that were deleted may be back, and look as if nothing had happened where the view had
   * not been told of the deletion: every key is looked at, whatever is under way.
   */
  restored(): void {
    this.#vacating.clear();
    this.inspect(this.#view.sessions().map(({ proxy }) => proxy));
  }

  /** The replica lease is about to be revoked: all keys go with it. */
  stop(): void {
    this.#stopped = true;
  }

  #compare(session: Session, entry: SessionEntry | undefined): void {
    const { attached } = session;
    if (attached === undefined || this.#view.revision < attached.seat.modRevision) return;
    if (entry === undefined) {
      if (attached.seatFirm) this.soften(session);
    } else if (entry.kv.modRevision > attached.seat.modRevision && !this.#sessions.isSeatOf(entry.record, session)) {
      this.#displaced(session, attached, entry);
    }
  }

  #displaced(session: Session, attached: Attached, by: SessionEntry): void {
    const { registry, nonce, address } = by.record;
    if (nonce === attached.hello.nonce)
      this.#sessions.end(session, 'superseded', `attended by registry ${registry} now`);
    else
      this.#sessions.evict(
        session,
        `another instance of proxy ${by.proxy} at ${address} has registered at registry ${registry}`,
      );
  }

  #firm(session: Session, attached: Attached): void {
    const { proxy } = attached.hello;
    const put = this.putStep(session, attached.hello);
    if (put === undefined) return;
    attached.seatBusy = true;
    const readMemberStep = { type: 'get', key: memberKey(proxy) } as const;
    this.#reactor.txn(
      {
        compares: [{ key: sessionKey(proxy), target: 'mod', equals: attached.seat.modRevision }],
        success: [put, readMemberStep],
        failure: [{ type: 'get', key: sessionKey(proxy) }, readMemberStep],
      },
      (outcome) => {
        attached.seatBusy = false;
        if (session.attached === attached) this.#firmed(session, attached, put, outcome);
      },
    );
  }

  #firmed(session: Session, attached: Attached, put: TxnStep, outcome: TxnOutcome): void {
    if (outcome.status !== 'done') {
      if (outcome.status === 'failed' && outcome.cause === 'lease-not-found' && put.type === 'put')
        this.#lease.lost(put.lease);
      return this.#again(session, attached);
    }
    const { proxy } = attached.hello;
    const seat = found(outcome.result, 0);
    const memberKv = found(outcome.result, 1);
    const member = memberKv && readMember(proxy, memberKv);
    if (member?.incarnation !== attached.incarnation) return this.#sessions.evict(session, 'the member record is gone');
    if (outcome.result.succeeded) {
      attached.seat.modRevision = outcome.header.revision;
      attached.seatFirm = true;
      attached.seatAttempts = 0;
      return this.#onFirm(session);
    }
    const entry = seat && readSession(proxy, seat);
    if (entry !== undefined && !this.#sessions.isSeatOf(entry.record, session))
      return this.#displaced(session, attached, entry);
    attached.seat.modRevision = seat?.modRevision ?? 0n;
    this.#again(session, attached);
  }

  #again(session: Session, attached: Attached): void {
    attached.seatAttempts += 1;
    const delay = attached.seatAttempts === 1 ? 0 : this.#reactor.retryDelay(attached.seatAttempts - 1);
    this.#reactor.after(`seat:${session.id}`, delay, () => {
      if (session.attached === attached && !attached.seatFirm && !attached.seatBusy) this.#firm(session, attached);
    });
  }

  #delete(proxy: ProxyId, modRevision: bigint, attempt: number): void {
    const key = sessionKey(proxy);
    const compares = [{ key, target: 'mod', equals: modRevision }] as const;
    this.#reactor.txn({ compares, success: [{ type: 'delete', key }], failure: [{ type: 'get', key }] }, (outcome) => {
      if (outcome.status !== 'done') {
        return this.#reactor.after(`vacate:${proxy}`, this.#reactor.retryDelay(attempt), () => {
          this.#delete(proxy, modRevision, attempt + 1);
        });
      }
      const left = outcome.result.succeeded ? undefined : found(outcome.result, 0);
      const entry = left && readSession(proxy, left);
      if (entry !== undefined && this.#sessions.isAbandoned(entry.record))
        return this.#delete(proxy, left?.modRevision ?? 0n, 1);
      this.#vacating.delete(proxy);
    });
  }
}
