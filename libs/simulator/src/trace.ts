import { hashText } from './random.ts';

export interface TraceLine {
  /** Virtual milliseconds. */
  readonly at: number;
  readonly who: string;
  readonly what: string;
}

/** What happened, in order: a running hash always, the lines themselves when asked for. */
export class Trace {
  readonly #lines: TraceLine[] | undefined;
  #hash = 0x811c9dc5;
  #count = 0;

  constructor(keepLines: boolean) {
    this.#lines = keepLines ? [] : undefined;
  }

  add(at: number, who: string, what: string): void {
    this.#hash = hashText(`${at.toFixed(3)}|${who}|${what}`, this.#hash);
    this.#count += 1;
    this.#lines?.push({ at, who, what });
  }

  /** Equal for equal runs: determinism is checked by comparing it. */
  get hash(): string {
    return this.#hash.toString(16).padStart(8, '0');
  }

  get count(): number {
    return this.#count;
  }

  get lines(): readonly TraceLine[] {
    return this.#lines ?? [];
  }
}

/** One line a person can read: time, process, event. */
export function formatTraceLine(line: TraceLine): string {
  return `${(line.at / 1000).toFixed(3).padStart(10)}s  ${line.who.padEnd(14)}  ${line.what}`;
}
