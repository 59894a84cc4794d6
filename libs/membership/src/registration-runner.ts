import type { LeaseId } from './ids.ts';
import type { Reactor, TxnOutcome } from './reactor.ts';
import type { ReplicaLease } from './replica-lease.ts';
import type { Registering, Session } from './session.ts';
import type { StoreOperation, StoreOutcome, TxnOperation } from './store.ts';

export interface RegistrationTxn extends Omit<TxnOperation, 'type'> {
  /** Leases the transaction puts keys under. */
  readonly leases: readonly LeaseId[];
  /** Whether the next step may follow at once. */
  readonly done: (outcome: Extract<TxnOutcome, { readonly status: 'done' }>) => boolean;
}

/** Attempts that follow each other at once, before pauses begin: contention is over in fewer. */
const EAGER_ATTEMPTS = 4;

/**
 * Runs the store operations of registrations, one at a time for each. Every outcome leads back to `step`: at once, or
 * after a pause when the store failed or somebody else was faster.
 */
export class RegistrationRunner {
  readonly #reactor: Reactor;
  readonly #lease: ReplicaLease;
  readonly #step: (session: Session) => void;

  constructor(reactor: Reactor, lease: ReplicaLease, step: (session: Session) => void) {
    this.#reactor = reactor;
    this.#lease = lease;
    this.#step = step;
  }

  txn(session: Session, state: Registering, txn: RegistrationTxn): void {
    const { era } = state;
    const { compares, success, failure, leases } = txn;
    state.busy = true;
    this.#reactor.txn({ compares, success, failure }, (outcome) => {
      state.busy = false;
      if (session.state !== state) return;
      if (state.era !== era) return this.again(session, state);
      if (outcome.status !== 'done') return this.failed(session, state, outcome, leases);
      const goOn = txn.done(outcome);
      if (session.state !== state) return;
      if (goOn) this.#step(session);
      else this.again(session, state);
    });
  }

  request(session: Session, state: Registering, request: StoreOperation, done: (outcome: StoreOutcome) => void): void {
    const { era } = state;
    state.busy = true;
    this.#reactor.request(request, (outcome) => {
      state.busy = false;
      if (session.state !== state) return;
      if (state.era === era) done(outcome);
      else this.again(session, state);
    });
  }

  failed(
    session: Session,
    state: Registering,
    outcome: Exclude<StoreOutcome, { readonly status: 'done' }>,
    leases: readonly LeaseId[],
  ): void {
    state.lastProblem = outcome.detail;
    if (outcome.status === 'failed' && outcome.cause === 'lease-not-found') {
      for (const lease of leases) this.#lease.lost(lease);
      if (state.lease !== undefined && leases.includes(state.lease.id)) state.lease = undefined;
      state.member = undefined;
    }
    this.again(session, state);
  }

  again(session: Session, state: Registering): void {
    state.attempts += 1;
    if (state.attempts <= EAGER_ATTEMPTS && state.lastProblem === '') return this.#step(session);
    this.#reactor.after(retryName(session), this.#reactor.retryDelay(state.attempts), () => this.#step(session));
  }

  ended(session: Session): void {
    this.#reactor.deadlines.cancel(retryName(session));
  }
}

function retryName(session: Session): string {
  return `register-retry:${session.id}`;
}
