import { assert } from './assert.ts';
import type { ClusterView, MemberEntry } from './cluster-view.ts';
import { readMember } from './cluster-view.ts';
import type { Continuity } from './continuity.ts';
import type { EpochKeeper } from './epoch-keeper.ts';
import { toIncarnation } from './fence.ts';
import type { LeaseId, ProxyId } from './ids.ts';
import { EPOCH_KEY, memberKey, sessionKey } from './keys.ts';
import { LeaseLife } from './lease-life.ts';
import type { Reactor } from './reactor.ts';
import { found } from './reactor.ts';
import { encodeEpoch, encodeRecord } from './records.ts';
import type { MemberRecord } from './records.ts';
import type { ReplicaLease } from './replica-lease.ts';
import { RegistrationRunner } from './registration-runner.ts';
import { SeatTaking } from './seat-taking.ts';
import type { Seats } from './seats.ts';
import type { CheckedHello, Registering, Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import type { Compare, KeyValue, TxnStep } from './store.ts';

export interface RegistrationParts {
  readonly reactor: Reactor;
  readonly view: ClusterView;
  readonly sessions: Sessions;
  readonly seats: Seats;
  readonly lease: ReplicaLease;
  readonly epoch: EpochKeeper;
  readonly continuity: Continuity;
  /** The session has become a member: greet it. */
  readonly onAttached: (session: Session, resumed: boolean, since: number) => void;
}

/**
 * From hello to membership, in this order, so that at each moment at most one instance can get further:
 * 1. take the seat: the session key, if nobody else's living session holds it (else: duplicate id, after a grace);
 * 2. an older instance's member record goes by revoking its lease, which takes all its claims in the same revision;
 * 3. put the member record under a fresh lease, if it is absent and the seat is still ours. The same instance resumes instead.
 * Each step reads what it depends on in the transaction that writes, and every outcome, known or not, leads back to `step`.
 */
export class Registration {
  readonly #parts: RegistrationParts;
  readonly #reactor: Reactor;
  readonly #runner: RegistrationRunner;
  readonly #seatTaking: SeatTaking;

  constructor(parts: RegistrationParts) {
    const { reactor, lease } = parts;
    const runner = new RegistrationRunner(reactor, lease, (session) => this.step(session));
    this.#parts = parts;
    this.#reactor = reactor;
    this.#runner = runner;
    this.#seatTaking = new SeatTaking({ ...parts, runner });
  }

  begin(session: Session, hello: CheckedHello): void {
    session.move({
      kind: 'registering',
      hello,
      since: this.#reactor.now,
      busy: false,
      attempts: 0,
      seat: undefined,
      expected: undefined,
      rival: undefined,
      member: undefined,
      lapsed: undefined,
      era: 0,
      lease: undefined,
      contested: false,
      lastProblem: '',
    });
    this.#parts.sessions.named(session, hello.proxy);
    this.#supersedeOlder(session, hello);
    this.#reactor.after(deadlineName(session), this.#reactor.config.registerTimeoutMs, () => this.#expired(session));
    this.step(session);
  }

  /** The instance has opened a new session here: whatever the old one waited for, it is over. */
  #supersedeOlder(session: Session, hello: CheckedHello): void {
    for (const older of this.#parts.sessions.of(hello.proxy)) {
      if (older === session || older.hello?.nonce !== hello.nonce) continue;
      this.#parts.sessions.end(older, 'superseded', 'the same instance has a newer session');
    }
  }

  /** Something changed that registrations may wait for: the store, the epoch, the replica lease. */
  stepAll(): void {
    for (const session of this.#parts.sessions.all()) this.step(session);
  }

  /** A new replica lease: seats taken under the old one are gone. */
  retake(): void {
    this.#voidReads();
    this.stepAll();
  }

  /** The store was restored: what was read of it before is void. */
  restored(): void {
    this.#voidReads();
  }

  #voidReads(): void {
    for (const { state } of this.#parts.sessions.all()) {
      if (state.kind !== 'registering') continue;
      state.seat = undefined;
      state.expected = undefined;
      state.lapsed = undefined;
      state.era += 1;
    }
  }

  /** Session keys changed: rivals may be gone. */
  inspect(proxies: Iterable<ProxyId>): void {
    for (const proxy of proxies) {
      for (const session of this.#parts.sessions.of(proxy)) {
        const { state } = session;
        if (state.kind !== 'registering' || state.rival === undefined || !this.#seatTaking.rivalGone(state)) continue;
        state.rival = undefined;
        this.step(session);
      }
    }
  }

  /** Takes the next step, if nothing is on its way and there is nothing to wait for. */
  step(session: Session): void {
    const { state } = session;
    if (state.kind !== 'registering' || state.busy || state.rival !== undefined) return;
    const epoch = this.#parts.epoch.current;
    if (this.#parts.lease.id === undefined || epoch === undefined) return;
    if (state.hello.newestStamp === undefined && !this.#parts.continuity.isKnown()) return;
    if (state.seat === undefined) return this.#seatTaking.take(session, state);
    if (state.member === undefined) {
      return state.lease === undefined
        ? this.#grantLease(session, state)
        : this.#recordMember(session, state, state.lease);
    }
    const member = readMember(state.hello.proxy, state.member);
    if (member !== undefined && isResumable(member, state.hello, epoch)) return this.#resume(session, state, member);
    return this.#displace(session, state, state.member);
  }

  ended(session: Session): void {
    this.#reactor.deadlines.cancel(deadlineName(session));
    this.#seatTaking.ended(session);
    this.#runner.ended(session);
  }

  /** Revoking the lease takes the member record and its claims together; a record without a lease is deleted. */
  #displace(session: Session, state: Registering, member: KeyValue): void {
    const { lease, createRevision, key } = member;
    if (lease !== 0n && state.lapsed !== lease) {
      return this.#runner.request(session, state, { type: 'leaseRevoke', lease }, (outcome) => {
        const lapsed = outcome.status === 'failed' && outcome.cause === 'lease-not-found';
        if (outcome.status !== 'done' && !lapsed) return this.#runner.failed(session, state, outcome, []);
        if (lapsed) state.lapsed = lease;
        state.member = undefined;
        this.step(session);
      });
    }
    this.#seatedTxn(
      session,
      state,
      [{ key, target: 'create', equals: createRevision }],
      { type: 'delete', key },
      [],
      () => {
        state.member = undefined;
      },
    );
  }

  #grantLease(session: Session, state: Registering): void {
    const askedAt = this.#reactor.now;
    const { leaseTtlMs, leaseMarginMs, heartbeatIntervalMs } = this.#reactor.config;
    this.#runner.request(session, state, { type: 'leaseGrant', ttlMs: leaseTtlMs }, (outcome) => {
      if (outcome.status !== 'done') return this.#runner.failed(session, state, outcome, []);
      assert(outcome.result.type === 'leaseGrant', 'a lease grant was answered by something else');
      const timing = { marginMs: leaseMarginMs, patienceMs: heartbeatIntervalMs };
      state.lease = new LeaseLife(outcome.result.lease, timing, askedAt, outcome.result.ttlMs);
      this.step(session);
    });
  }

  #recordMember(session: Session, state: Registering, lease: LeaseLife): void {
    const epoch = this.#parts.epoch.current;
    if (epoch === undefined) return;
    const key = memberKey(state.hello.proxy);
    const value = encodeRecord(memberRecord(state.hello, epoch, false));
    const compares = [
      { key, target: 'create', equals: 0n },
      { key: EPOCH_KEY, target: 'value', equals: encodeEpoch(epoch) },
    ] as const;
    this.#seatedTxn(session, state, compares, { type: 'put', key, value, lease: lease.id }, [lease.id], (revision) => {
      this.#attach(session, state, lease, { epoch, createRevision: revision }, false);
    });
  }

  #resume(session: Session, state: Registering, member: MemberEntry): void {
    const { key, lease, createRevision } = member.kv;
    const fence = { epoch: member.record.epoch, createRevision };
    const timing = {
      marginMs: this.#reactor.config.leaseMarginMs,
      patienceMs: this.#reactor.config.heartbeatIntervalMs,
    };
    const attach = (): void => {
      const life = state.lease?.id === lease ? state.lease : new LeaseLife(lease, timing, this.#reactor.now, 0);
      this.#attach(session, state, life, fence, true);
    };
    const value = encodeRecord(memberRecord(state.hello, member.record.epoch, member.record.draining));
    if (value === member.kv.value) return attach();
    const compares = [{ key, target: 'create', equals: createRevision }] as const;
    this.#seatedTxn(session, state, compares, { type: 'put', key, value, lease }, [lease], attach);
  }

  #attach(
    session: Session,
    state: Registering,
    lease: LeaseLife,
    fence: { readonly epoch: bigint; readonly createRevision: bigint },
    resumed: boolean,
  ): void {
    const { hello, seat, since } = state;
    assert(seat !== undefined, 'a session was attached without its seat');
    this.ended(session);
    session.move({
      kind: 'attached',
      hello,
      incarnation: toIncarnation(fence),
      createRevision: fence.createRevision,
      lease,
      seat,
      seatFirm: true,
      seatBusy: false,
      seatAttempts: 0,
      pending: new Map(),
      heartbeat: undefined,
    });
    this.#parts.sessions.leased(session, lease.id);
    this.#parts.onAttached(session, resumed, since);
  }

  /** One write on the member key that only the holder of the seat can make. */
  #seatedTxn(
    session: Session,
    state: Registering,
    compares: readonly Compare[],
    write: TxnStep,
    leases: readonly LeaseId[],
    written: (revision: bigint) => void,
  ): void {
    const { proxy } = state.hello;
    const modRevision = state.seat?.modRevision ?? 0n;
    this.#runner.txn(session, state, {
      compares: [...compares, { key: sessionKey(proxy), target: 'mod', equals: modRevision }],
      success: [write],
      failure: [
        { type: 'get', key: sessionKey(proxy) },
        { type: 'get', key: memberKey(proxy) },
      ],
      leases,
      done: ({ header, result }) => {
        if (result.succeeded) {
          written(header.revision);
          return true;
        }
        this.#seatTaking.seen(session, state, found(result, 0));
        state.member = found(result, 1);
        return false;
      },
    });
  }

  #expired(session: Session): void {
    const { state } = session;
    if (state.kind !== 'registering') return;
    if (state.rival !== undefined) return this.#seatTaking.refuseDuplicate(session, state.hello.proxy, state.rival);
    const problem = state.lastProblem === '' ? '' : `: ${state.lastProblem}`;
    const detail = `the store at ${this.#reactor.config.storeName} does not answer${problem}; try another registry, or later`;
    this.#parts.sessions.refuse(session, 'store-unavailable', detail);
  }
}

function deadlineName(session: Session): string {
  return `register:${session.id}`;
}

/**
 * The same process, registered in this epoch: what a store that was restored from a backup says of earlier ones is
 * older than what agents have seen.
 */
function isResumable(member: MemberEntry, hello: CheckedHello, epoch: bigint): boolean {
  return member.record.nonce === hello.nonce && member.kv.lease !== 0n && member.record.epoch === epoch;
}

export function memberRecord(hello: CheckedHello, epoch: bigint, draining: boolean): MemberRecord {
  const { nonce, peerAddress, tunnelAddress, generation, software } = hello;
  return { nonce, peerAddress, tunnelAddress, generation, software, draining, epoch };
}
