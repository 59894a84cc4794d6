import type { Reactor, TxnOutcome } from './reactor.ts';
import type { Session } from './session.ts';
import type { StoreOutcome, TxnOperation } from './store.ts';

/** A request of a root proxy that is tried against the store until it is answered or its time is over. */
export interface Pending {
  readonly name: string;
  /** Starts one try; called when none is running. */
  readonly attempt: (pending: Pending) => void;
  /** The time is over: answer that the outcome is open. `underWay`: a try was sent and may still take effect. */
  readonly giveUp: (underWay: boolean) => void;
  attempts: number;
  /** The store operation of the try that is running. */
  operation: number | undefined;
}

/** Requests of all sessions that wait for the store. Each ends in exactly one of: `finish`, `giveUp`, the end of its session. */
export class PendingRequests {
  readonly #reactor: Reactor;

  constructor(reactor: Reactor) {
    this.#reactor = reactor;
  }

  /** A second request of the same name is passed over: the first one's answer answers it. */
  add(session: Session, name: string, attempt: (pending: Pending) => void, giveUp: (underWay: boolean) => void): void {
    const { membership } = session;
    if (membership === undefined || membership.pending.has(name)) return;
    const pending: Pending = { name, attempt, giveUp, attempts: 0, operation: undefined };
    membership.pending.set(name, pending);
    this.#reactor.after(untilName(session, name), this.#reactor.config.requestTimeoutMs, () => {
      if (this.finish(session, pending)) giveUp(!this.#takeBack(pending));
    });
    attempt(pending);
  }

  /** Ends the request. False when it had ended before. */
  finish(session: Session, pending: Pending): boolean {
    const all = session.membership?.pending;
    if (all?.get(pending.name) !== pending) return false;
    all.delete(pending.name);
    this.#cancel(session, pending);
    return true;
  }

  /** Runs a store operation for the request; the outcome is dropped when the request has ended meanwhile. */
  txn(session: Session, pending: Pending, txn: Omit<TxnOperation, 'type'>, done: (outcome: TxnOutcome) => void): void {
    pending.operation = this.#reactor.txn(txn, (outcome) => this.#answered(session, pending, () => done(outcome)));
  }

  revoke(session: Session, pending: Pending, lease: bigint, done: (outcome: StoreOutcome) => void): void {
    pending.operation = this.#reactor.request({ type: 'leaseRevoke', lease }, (outcome) =>
      this.#answered(session, pending, () => done(outcome)),
    );
  }

  /** Tries again, the first time at once. */
  again(session: Session, pending: Pending): void {
    pending.attempts += 1;
    const delay = pending.attempts === 1 ? 0 : this.#reactor.retryDelay(pending.attempts - 1);
    this.#reactor.after(retryName(session, pending.name), delay, () => this.#run(session, pending));
  }

  /** What requests may have waited for has come. */
  resume(session: Session): void {
    for (const pending of [...(session.membership?.pending.values() ?? [])]) this.#run(session, pending);
  }

  /** The session is over; nobody waits any more. */
  ended(session: Session): void {
    const pending = session.membership?.pending;
    for (const request of pending?.values() ?? []) {
      this.#cancel(session, request);
      this.#takeBack(request);
    }
    pending?.clear();
  }

  #run(session: Session, pending: Pending): void {
    if (pending.operation === undefined && session.membership?.pending.get(pending.name) === pending)
      pending.attempt(pending);
  }

  #answered(session: Session, pending: Pending, then: () => void): void {
    pending.operation = undefined;
    if (session.membership?.pending.get(pending.name) === pending) then();
  }

  /** Drops a try that waits in line. False: one was sent and may still take effect. */
  #takeBack(pending: Pending): boolean {
    return pending.operation === undefined || this.#reactor.withdraw(pending.operation);
  }

  #cancel(session: Session, pending: Pending): void {
    this.#reactor.deadlines.cancel(untilName(session, pending.name));
    this.#reactor.deadlines.cancel(retryName(session, pending.name));
  }
}

function untilName(session: Session, name: string): string {
  return `until:${session.id}:${name}`;
}

function retryName(session: Session, name: string): string {
  return `retry:${session.id}:${name}`;
}
