import type { ClusterView, SessionEntry } from './cluster-view.ts';
import type { Continuity } from './continuity.ts';
import type { EpochKeeper } from './epoch-keeper.ts';
import type { ProxyId } from './ids.ts';
import { EPOCH_KEY, memberKey, sessionKey } from './keys.ts';
import type { Reactor } from './reactor.ts';
import { found } from './reactor.ts';
import { decodeEpoch } from './records.ts';
import type { RegistrationRunner } from './registration-runner.ts';
import { readSession } from './seats.ts';
import type { Seats } from './seats.ts';
import type { CheckedHello, Registering, Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import type { KeyValue, TxnStep } from './store.ts';

export interface SeatTakingParts {
  readonly reactor: Reactor;
  readonly view: ClusterView;
  readonly sessions: Sessions;
  readonly seats: Seats;
  readonly epoch: EpochKeeper;
  readonly continuity: Continuity;
  readonly runner: RegistrationRunner;
}

/**
 * The first step of a registration: the seat. It may be taken from nobody, from an earlier session of the same instance,
 * and from a session of this replica that is over. Another living instance is given a moment to go (a restarted root proxy may
 * be faster than the news of its predecessor's end); if it stays, the newcomer is a duplicate.
 */
export class SeatTaking {
  readonly #parts: SeatTakingParts;
  readonly #reactor: Reactor;

  constructor(parts: SeatTakingParts) {
    this.#parts = parts;
    this.#reactor = parts.reactor;
  }

  /** Puts the session key and reads, in the same revision, the member key and the epoch. */
  take(session: Session, state: Registering): void {
    const { proxy } = state.hello;
    const put = this.#parts.seats.putStep(session, state.hello);
    if (put === undefined) return;
    const reads: readonly TxnStep[] = [
      { type: 'get', key: memberKey(proxy) },
      { type: 'get', key: EPOCH_KEY },
    ];
    const equals = state.expected ?? this.#expected(session, state.hello);
    this.#parts.runner.txn(session, state, {
      compares: [{ key: sessionKey(proxy), target: 'mod', equals }],
      success: [put, ...reads],
      failure: [{ type: 'get', key: sessionKey(proxy) }, ...reads],
      leases: put.type === 'put' ? [put.lease] : [],
      done: ({ header, result }) => {
        state.member = found(result, 1);
        if (result.succeeded) state.seat = { modRevision: header.revision };
        else this.seen(session, state, found(result, 0));
        const epoch = decodeEpoch(found(result, 2)?.value ?? '') ?? 0n;
        // The seat's own revision is none that was there before.
        const reached = result.succeeded ? header.revision - 1n : header.revision;
        return this.#believes(state, epoch, reached) && result.succeeded;
      },
    });
  }

  /** What the session key is, read by a transaction that did not find what it expected. */
  seen(session: Session, state: Registering, kv: KeyValue | undefined): void {
    const entry = kv && readSession(state.hello.proxy, kv);
    const hadSeat = state.seat !== undefined;
    state.seat = undefined;
    state.expected = kv?.modRevision ?? 0n;
    if (entry === undefined) return;
    if (this.#parts.sessions.isSeatOf(entry.record, session)) {
      state.seat = { modRevision: entry.kv.modRevision };
    } else if (hadSeat && entry.record.nonce === state.hello.nonce) {
      this.#parts.sessions.end(session, 'superseded', `attended by registry ${entry.record.registry} now`);
    } else if (!this.#mayTake(session, state.hello, entry)) {
      this.#contested(session, state, entry);
    }
  }

  /** Whether a rival of this registration, as far as the view knows, has gone. */
  rivalGone(state: Registering): boolean {
    if (state.rival === undefined) return true;
    const { modRevision } = state.rival.kv;
    const now = this.#parts.view.session(state.hello.proxy)?.kv.modRevision;
    return this.#parts.view.revision >= modRevision && now !== modRevision;
  }

  refuseDuplicate(session: Session, proxy: ProxyId, rival: SessionEntry): void {
    const { registry, address, since, nonce } = rival.record;
    const detail =
      `proxy ${proxy} is already registered by a live instance at ${address} (nonce ${nonce}), attended by registry ` +
      `${registry} since ${since}; give this instance another id or stop that one`;
    this.#parts.sessions.refuse(session, 'duplicate-id', detail);
  }

  ended(session: Session): void {
    this.#reactor.deadlines.cancel(rivalName(session));
  }

  /** The mod revision to take the seat at, as far as the view knows; the store corrects it. */
  #expected(session: Session, hello: CheckedHello): bigint {
    const entry = this.#parts.view.session(hello.proxy);
    return entry !== undefined && this.#mayTake(session, hello, entry) ? entry.kv.modRevision : 0n;
  }

  #mayTake(session: Session, hello: CheckedHello, { record }: SessionEntry): boolean {
    const { sessions } = this.#parts;
    if (record.nonce === hello.nonce || sessions.isSeatOf(record, session)) return true;
    return sessions.isAbandoned(record) || sessions.isOfFormerLife(record);
  }

  #contested(session: Session, state: Registering, rival: SessionEntry): void {
    state.expected = undefined;
    state.rival = rival;
    if (state.contested) return;
    state.contested = true;
    this.#reactor.after(rivalName(session), this.#reactor.config.duplicateGraceMs, () => {
      state.contested = false;
      if (session.state !== state || state.rival === undefined) return;
      this.refuseDuplicate(session, state.hello.proxy, state.rival);
    });
  }

  /** Whether the store has reached what the root proxy has seen. If not, it was restored; the seat waits for the raised epoch. */
  #believes(state: Registering, epoch: bigint, revision: bigint): boolean {
    const { newestStamp, proxy } = state.hello;
    const detail = this.#parts.epoch.judge(newestStamp, { epoch, revision }, `proxy ${proxy}`);
    if (detail === undefined) {
      if (newestStamp !== undefined) this.#parts.continuity.witnessed();
      return true;
    }
    state.seat = undefined;
    state.expected = undefined;
    state.lastProblem = `the store was restored from a backup: ${detail}`;
    return false;
  }
}

function rivalName(session: Session): string {
  return `rival:${session.id}`;
}
