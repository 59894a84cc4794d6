import { Line } from './line.ts';
import type { Ticket } from './line.ts';
import type { Instant } from './types.ts';

export interface FairTurnsLimits {
  /** What a flow gets when it is its turn, in whatever is shared. At least 1. */
  readonly quantum: number;
  /** What is handed out in one turn, to the nearest quantum. At least one quantum. */
  readonly perTurn: number;
}

interface Group<Flow> {
  readonly key: string;
  readonly line: Line<TurnTicket<Flow>>;
  flows: number;
}

export interface TurnTicket<Flow> extends Ticket<Flow> {
  readonly group: Group<Flow>;
}

/**
 * Shares what can be done in one turn of an event loop: groups take turns, and so do the flows of a group, with a quantum each time
 * (deficit round robin: M. Shreedhar and G. Varghese, 1995). A group that has had nobody waiting comes before those that always have
 * (flow queueing of fq_codel, RFC 8290, 4.2), so that who asks for little hardly waits, however many ask for all there is. Nobody
 * waits while there is something left.
 */
export class FairTurns<Flow> {
  readonly #limits: FairTurnsLimits;
  readonly #groups = new Map<string, Group<Flow>>();
  /** Those with somebody waiting, in two rounds: who came when nobody of the group waited, and the others. */
  readonly #fresh = new Set<Group<Flow>>();
  readonly #busy = new Set<Group<Flow>>();
  #left: number;
  #waiting = 0;
  #waitedMs = 0;

  constructor(limits: FairTurnsLimits) {
    if (!(limits.quantum >= 1)) throw new RangeError(`quantum ${limits.quantum} is less than 1`);
    if (!(limits.perTurn >= limits.quantum)) throw new RangeError(`perTurn ${limits.perTurn} is less than quantum`);
    this.#limits = limits;
    this.#left = limits.perTurn;
  }

  /** Flows that wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Of all flows together, in lines that they have left. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  open(key: string, flow: Flow): TurnTicket<Flow> {
    const group = this.#groups.get(key) ?? { key, line: new Line<TurnTicket<Flow>>(), flows: 0 };
    this.#groups.set(key, group);
    group.flows += 1;
    return { flow, group, credit: 0, waitsSince: undefined };
  }

  /** Whether the flow may go on in this turn; if not, it waits, and `turn` will name it. */
  enter(ticket: TurnTicket<Flow>, now: Instant): boolean {
    while (ticket.credit < 0 && this.#left > 0) this.#give(ticket);
    if (ticket.credit >= 0) return true;
    const { group } = ticket;
    if (group.line.size === 0 && !this.#busy.has(group)) this.#fresh.add(group);
    group.line.join(ticket, now);
    this.#waiting += 1;
    return false;
  }

  /** A turn of the event loop begins: those that may go on in it, in order. */
  turn(now: Instant): readonly Flow[] {
    this.#left = this.#limits.perTurn;
    const served = new Map<Group<Flow>, TurnTicket<Flow>[]>();
    const flows: Flow[] = [];
    while (this.#left > 0 && this.#waiting > 0) {
      const group = this.#nextGroup();
      const already = served.get(group) ?? [];
      // Where nobody else of the group waits its turn is for those served before: few get as much as many.
      const ticket = group.line.next() ?? already.shift();
      // A group stays for one round after its line has become empty: coming and going is no way to be always fresh.
      if (ticket === undefined) continue;
      this.#busy.add(group);
      this.#give(ticket);
      if (ticket.waitsSince !== undefined) {
        if (ticket.credit < 0) {
          group.line.join(ticket, ticket.waitsSince);
          continue;
        }
        this.#waiting -= 1;
        this.#waitedMs += now - ticket.waitsSince;
        ticket.waitsSince = undefined;
        flows.push(ticket.flow);
      }
      served.set(group, [...already, ticket]);
    }
    return flows;
  }

  close(ticket: TurnTicket<Flow>): void {
    const { group } = ticket;
    if (ticket.waitsSince !== undefined) this.#waiting -= 1;
    group.line.leave(ticket);
    group.flows -= 1;
    if (group.flows > 0) return;
    this.#groups.delete(group.key);
    this.#fresh.delete(group);
    this.#busy.delete(group);
  }

  /** Takes it out of its round. There is one while somebody waits. */
  #nextGroup(): Group<Flow> {
    for (const round of [this.#fresh, this.#busy]) {
      for (const group of round) {
        round.delete(group);
        return group;
      }
    }
    throw new Error('assertion failed: somebody waits in no group');
  }

  #give(ticket: TurnTicket<Flow>): void {
    ticket.credit += this.#limits.quantum;
    this.#left -= this.#limits.quantum;
  }
}
