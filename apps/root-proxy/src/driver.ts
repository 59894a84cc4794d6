import { Alarm, now } from './clock.ts';

/** A core: a state machine without I/O, fed with events and the time. */
export interface Core<Event, Effect> {
  handle(event: Event, now: number): void;
  pollEffect(): Effect | undefined;
  nextTimeout(): number | undefined;
}

/**
 * Runs one core: feeds it, performs its effects in order, wakes it at its deadline. Events that come while effects are
 * performed wait their turn, so that the core never sees one in the middle of another.
 */
export class Driver<Event, Effect> {
  readonly #core: Core<Event | { readonly type: 'timeout' }, Effect>;
  readonly #perform: (effect: Effect) => void;
  readonly #waiting: (Event | { readonly type: 'timeout' })[] = [];
  readonly #alarm = new Alarm(() => this.#feed({ type: 'timeout' }));
  #busy = false;
  #stopped = false;

  constructor(core: Core<Event | { readonly type: 'timeout' }, Effect>, perform: (effect: Effect) => void) {
    this.#core = core;
    this.#perform = perform;
  }

  /** Performs what the core wanted from its beginning. */
  start(): void {
    this.#run();
  }

  feed(event: Event): void {
    this.#feed(event);
  }

  /** No event is handled any more. */
  stop(): void {
    this.#stopped = true;
    this.#alarm.stop();
  }

  #feed(event: Event | { readonly type: 'timeout' }): void {
    this.#waiting.push(event);
    if (!this.#busy) this.#run();
  }

  #run(): void {
    this.#busy = true;
    try {
      this.#drain();
      for (let event = this.#waiting.shift(); event !== undefined && !this.#stopped; event = this.#waiting.shift()) {
        this.#core.handle(event, now());
        this.#drain();
      }
    } finally {
      this.#busy = false;
    }
    if (!this.#stopped) this.#alarm.set(this.#core.nextTimeout());
  }

  #drain(): void {
    for (let effect = this.#core.pollEffect(); effect !== undefined; effect = this.#core.pollEffect())
      this.#perform(effect);
  }
}
