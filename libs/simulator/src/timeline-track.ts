import type { Bar } from './timeline.ts';

/** Follows one state over time and keeps each stay as a bar. */
export class Track<State extends string> {
  readonly #bars: Bar<State>[] = [];
  #open: { readonly state: State; readonly from: number; note: string } | undefined;

  get state(): State | undefined {
    return this.#open?.state;
  }

  /** The state from `at` on; undefined for none. A change of the note alone starts a new bar only when it is `telling`. */
  set(at: number, state: State | undefined, note = '', telling = false): void {
    const open = this.#open;
    if (open?.state === state && (open?.note === note || !telling)) {
      if (open !== undefined && note !== '') open.note = note;
      return;
    }
    if (open !== undefined && (at > open.from || state === undefined)) this.#bars.push({ ...open, to: at });
    this.#open = state === undefined ? undefined : { state, from: at, note };
  }

  /** Every bar, the last one cut at `endMs`. */
  bars(endMs: number): readonly Bar<State>[] {
    return this.#open === undefined ? this.#bars : [...this.#bars, { ...this.#open, to: endMs }];
  }
}
