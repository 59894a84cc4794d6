import type { Instant } from './types.ts';

/**
 * What one flow has at one gate. It reads while its credit is not negative; a read is charged after it was made, because nobody knows
 * before how much there is to read. So a flow is at most one read ahead of what it was given.
 */
export interface Ticket<Flow> {
  readonly flow: Flow;
  credit: number;
  /** Set while it waits in the line of the gate. */
  waitsSince: Instant | undefined;
}

/** Those who wait, first come first served; leaving costs no search. */
export class Line<T extends Ticket<unknown>> {
  readonly #tickets = new Set<T>();

  get size(): number {
    return this.#tickets.size;
  }

  join(ticket: T, now: Instant): void {
    ticket.waitsSince = now;
    this.#tickets.add(ticket);
  }

  /** The first, which has left the line. */
  next(): T | undefined {
    for (const ticket of this.#tickets) {
      this.#tickets.delete(ticket);
      return ticket;
    }
    return undefined;
  }

  leave(ticket: T): void {
    ticket.waitsSince = undefined;
    this.#tickets.delete(ticket);
  }
}
