import { toFence } from './fence.ts';
import { memberKey } from './keys.ts';
import type { Pending, PendingRequests } from './pending.ts';
import type { Reactor } from './reactor.ts';
import { encodeRecord } from './records.ts';
import { memberRecord } from './registration.ts';
import type { Attached, Session } from './session.ts';
import type { Sessions } from './sessions.ts';

export interface DepartureParts {
  readonly reactor: Reactor;
  readonly sessions: Sessions;
  readonly pending: PendingRequests;
}

/** How a root proxy goes in order: marked draining first (agents look for others), then gone with its claims. */
export class Departures {
  readonly #parts: DepartureParts;

  constructor(parts: DepartureParts) {
    this.#parts = parts;
  }

  drain(session: Session, attached: Attached): void {
    this.#parts.pending.add(
      session,
      'drain',
      (pending) => this.#mark(session, attached, pending),
      () => this.#answerDrain(session, false),
    );
  }

  /** Everything this session still waited for is void; the answer is `left`. It hears no more of the view: its own records go next. */
  leave(session: Session, attached: Attached): void {
    this.#parts.pending.ended(session);
    session.move({ kind: 'leaving', attached });
    session.feed = 'none';
    this.#parts.pending.add(
      session,
      'leave',
      (pending) => this.#remove(session, attached, pending),
      () =>
        this.#parts.sessions.end(
          session,
          'store-unavailable',
          'the member record could not be removed; it lapses with its lease',
        ),
    );
  }

  #mark(session: Session, attached: Attached, pending: Pending): void {
    const { hello, createRevision, lease, incarnation } = attached;
    const key = memberKey(hello.proxy);
    const value = encodeRecord(memberRecord(hello, toFence(incarnation).epoch, true));
    const txn = {
      compares: [{ key, target: 'create', equals: createRevision }],
      success: [{ type: 'put', key, value, lease: lease.id }],
      failure: [],
    } as const;
    this.#parts.pending.txn(session, pending, txn, (outcome) => {
      if (outcome.status !== 'done') return this.#parts.pending.again(session, pending);
      this.#parts.pending.finish(session, pending);
      if (!outcome.result.succeeded) return this.#parts.sessions.evict(session, 'the member record is gone');
      this.#parts.reactor.report({ type: 'drained', proxy: hello.proxy, incarnation });
      this.#answerDrain(session, true);
    });
  }

  #remove(session: Session, attached: Attached, pending: Pending): void {
    const { hello, incarnation, lease } = attached;
    this.#parts.pending.revoke(session, pending, lease.id, (outcome) => {
      const gone = outcome.status === 'done' || (outcome.status === 'failed' && outcome.cause === 'lease-not-found');
      if (!gone) return this.#parts.pending.again(session, pending);
      this.#parts.pending.finish(session, pending);
      this.#parts.reactor.report({ type: 'left', proxy: hello.proxy, incarnation });
      this.#parts.reactor.emit({ type: 'send', session: session.id, message: { type: 'left' } });
      this.#parts.sessions.end(session, 'answered', 'left');
    });
  }

  #answerDrain(session: Session, recorded: boolean): void {
    this.#parts.reactor.emit({ type: 'send', session: session.id, message: { type: 'drainResult', recorded } });
  }
}
