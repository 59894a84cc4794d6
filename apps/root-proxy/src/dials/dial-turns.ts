import { FairTurns } from '@xylem/quota';
import { now } from '../clock.ts';

/** A dial costs a core about a millisecond in all, a third of it when it begins. */
const DIALS_PER_TURN = 4;

/**
 * Begins so many dials in one turn of the event loop, of each leaf cluster in turn: who dials in crowds waits for its own crowd. Each
 * waits for as many turns as there are dials before it, which quotas bound; a dial's own time begins when it does.
 */
export class DialTurns {
  readonly #turns = new FairTurns<Start>({ quantum: 1, perTurn: DIALS_PER_TURN });
  #turn: NodeJS.Immediate | undefined;

  /** Calls `start` now or in a later turn, once. */
  begin(leaf: string, start: () => void): void {
    this.#wake();
    const made: Start = { start, leave: () => this.#turns.close(ticket) };
    const ticket = this.#turns.open(leaf, made);
    ticket.credit -= 1;
    if (this.#turns.enter(ticket, now())) run(made);
  }

  #next(): void {
    this.#turn = undefined;
    for (const made of this.#turns.turn(now())) run(made);
    if (this.#turns.waiting > 0) this.#wake();
  }

  #wake(): void {
    if (this.#turn === undefined) this.#turn = setImmediate(() => this.#next());
  }
}

interface Start {
  readonly start: () => void;
  readonly leave: () => void;
}

function run({ start, leave }: Start): void {
  leave();
  start();
}
