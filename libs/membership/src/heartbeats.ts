import type { LeaseId } from './ids.ts';
import type { Reactor } from './reactor.ts';
import type { Attached, Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import type { Instant } from './time.ts';

/**
 * A root proxy's lease is kept alive only by its heartbeats. Each heartbeat causes one keepalive; its answer waits a
 * moment for the acknowledgement and tells how long the lease is good for, counted from the receipt of the heartbeat:
 * that is later than its sending, so the proxy, counting from the sending, never believes in the lease for too long.
 */
export class Heartbeats {
  readonly #reactor: Reactor;
  readonly #sessions: Sessions;

  constructor(reactor: Reactor, sessions: Sessions) {
    this.#reactor = reactor;
    this.#sessions = sessions;
  }

  received(session: Session, attached: Attached, sequence: bigint): void {
    this.#answer(session, attached);
    attached.heartbeat = { sequence, receivedAt: this.#reactor.now };
    this.keepAlive(attached);
    this.#reactor.after(ackName(session), this.#reactor.config.keepAliveWaitMs, () => this.#answer(session, attached));
  }

  /** Sends a keepalive unless one is on its way. */
  keepAlive(attached: Attached): void {
    if (!attached.lease.shouldSend(this.#reactor.now)) return;
    attached.lease.sent(this.#reactor.now);
    this.#reactor.emit({ type: 'keepAlive', lease: attached.lease.id });
  }

  acknowledged(lease: LeaseId, sentAt: Instant, ttlMs: number): void {
    const session = this.#sessions.byLease(lease);
    const attached = session?.attached;
    if (session === undefined || attached === undefined) return;
    if (ttlMs <= 0) return this.#lapsed(session, lease);
    attached.lease.acknowledged(sentAt, ttlMs);
    this.#answer(session, attached);
  }

  ended(session: Session): void {
    this.#reactor.deadlines.cancel(ackName(session));
  }

  /** The store knows no such lease. Revoking it makes sure that nothing is left under it before the proxy comes back. */
  #lapsed(session: Session, lease: LeaseId): void {
    this.#reactor.request({ type: 'leaseRevoke', lease }, () => undefined);
    this.#sessions.evict(session, 'the lease has lapsed');
  }

  #answer(session: Session, attached: Attached): void {
    const { heartbeat } = attached;
    if (heartbeat === undefined || session.attached !== attached) return;
    attached.heartbeat = undefined;
    this.#reactor.deadlines.cancel(ackName(session));
    const leaseValidMs = Math.floor(attached.lease.remainingMs(heartbeat.receivedAt));
    const message = { type: 'heartbeatAck', sequence: heartbeat.sequence, leaseValidMs } as const;
    this.#reactor.emit({ type: 'send', session: session.id, message });
  }
}

function ackName(session: Session): string {
  return `heartbeat:${session.id}`;
}
