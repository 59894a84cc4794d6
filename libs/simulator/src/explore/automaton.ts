/** A deterministic core in the hands of the explorer: what it does is a function of the events it was told, nothing else. */
export interface Machine<Event, Effect, View> {
  handle(event: Event): void;
  pollEffect(): Effect | undefined;
  /** What checks and actions need to know of it. */
  view(): View;
}

/** What a machine did with one event. */
export interface Reaction<Effect> {
  readonly next: number;
  readonly effects: readonly Effect[];
  /** The message of the error it threw; it is told no more after that. */
  readonly failure: string | undefined;
}

interface Node<Event, View> {
  readonly parent: number;
  readonly event: Event | undefined;
  readonly view: View;
}

/**
 * A core as an automaton, unfolded while it is explored. A state is *named by the history* that leads to it: the sequence of all
 * events since the start. A core reads no clock and draws no chance of its own, so equal histories mean equal states,
 * private fields included; no two states that differ ever share a name. (Two histories that lead to equal states keep
 * two names, which costs time and hides nothing.) Each reaction is computed once, by the real class, and then looked up.
 */
export class Automaton<Event, Effect, View> {
  readonly #make: () => Machine<Event, Effect, View>;
  readonly #nodes: Node<Event, View>[] = [];
  /** By state, then by event. */
  readonly #reactions: Map<number, Reaction<Effect>>[] = [];
  readonly #events = new Names();
  /** The machine that reacted last stands at this state. */
  #live: { readonly state: number; readonly machine: Machine<Event, Effect, View> };

  constructor(make: () => Machine<Event, Effect, View>) {
    this.#make = make;
    const machine = make();
    this.#nodes.push({ parent: -1, event: undefined, view: machine.view() });
    this.#live = { state: 0, machine };
  }

  /** The state before any event. */
  readonly initial = 0;

  get states(): number {
    return this.#nodes.length;
  }

  view(state: number): View {
    return this.#node(state).view;
  }

  react(state: number, event: Event): Reaction<Effect> {
    const name = this.#events.of(canonical(event));
    const known = (this.#reactions[state] ??= new Map());
    let reaction = known.get(name);
    if (reaction === undefined) {
      reaction = this.#compute(state, event);
      known.set(name, reaction);
    }
    return reaction;
  }

  #compute(state: number, event: Event): Reaction<Effect> {
    const machine = this.#live.state === state ? this.#live.machine : this.#replay(state);
    // Until this turn is over the machine stands nowhere.
    this.#live = { state: -1, machine };
    const effects: Effect[] = [];
    try {
      machine.handle(event);
      for (let effect = machine.pollEffect(); effect !== undefined; effect = machine.pollEffect()) effects.push(effect);
      const view = machine.view();
      const next = this.#nodes.push({ parent: state, event, view }) - 1;
      this.#live = { state: next, machine };
      return { next, effects, failure: undefined };
    } catch (error) {
      return { next: state, effects, failure: error instanceof Error ? error.message : String(error) };
    }
  }

  #replay(state: number): Machine<Event, Effect, View> {
    const machine = this.#make();
    for (const event of this.#history(state)) {
      machine.handle(event);
      while (machine.pollEffect() !== undefined);
    }
    return machine;
  }

  #history(state: number): readonly Event[] {
    const events: Event[] = [];
    for (let node = this.#node(state); node.event !== undefined; node = this.#node(node.parent))
      events.push(node.event);
    return events.reverse();
  }

  #node(state: number): Node<Event, View> {
    const node = this.#nodes[state];
    if (node === undefined) throw new Error(`automaton: there is no state ${String(state)}`);
    return node;
  }
}

/** Plain data as text, equal for equal data made in the same order. */
export function canonical(data: unknown): string {
  return JSON.stringify(data, (_key, value: unknown) => (typeof value === 'bigint' ? `${String(value)}n` : value));
}

/** Short names for long texts. */
export class Names {
  readonly #names = new Map<string, number>();

  of(text: string): number {
    const known = this.#names.get(text);
    if (known !== undefined) return known;
    const name = this.#names.size;
    this.#names.set(text, name);
    return name;
  }
}
