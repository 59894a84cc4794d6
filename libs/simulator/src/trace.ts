import type { LifeMark, SeenMark } from './marks-seen.ts';
import { hashText } from './random.ts';

export interface TraceLine {
  /** Virtual milliseconds. */
  readonly at: number;
  readonly who: string;
  readonly what: string;
}

/** What a checker has to know the moment it happens, because nothing shows it later. */
export type Fact =
  /** An agent closes a tunnel on which it was granted the claim. */
  | {
      readonly type: 'claimGivenUp';
      readonly agent: string;
      readonly proxy: string;
      readonly reason: string;
      readonly drainAnnounced: boolean;
    }
  /** A root proxy closes a tunnel. */
  | {
      readonly type: 'tunnelGivenUp';
      readonly proxy: string;
      readonly tunnel: string;
      readonly reason: string;
      readonly detail: string;
      readonly drainAnnounced: boolean;
      readonly peer: PeerSeen;
    }
  /** An agent served a dial of a root proxy that says this of itself, or refused it, having seen `seen`. */
  | {
      readonly type: 'dialJudged';
      readonly agent: string;
      readonly proxy: string;
      readonly served: boolean;
      readonly mark: LifeMark;
      readonly seen: SeenMark;
      /** When its tunnel came up, in the order of all that the agent heard. */
      readonly admitted: number;
    };

/** The other end of a tunnel, as nobody but the simulator knows it. */
export interface PeerSeen {
  /** Its process runs, and has not closed this connection. */
  readonly alive: boolean;
  /** It was stopped, or something between the two hosts was blocked, so lately that it may not have been able to answer. */
  readonly troubled: boolean;
}

/** What happened, in order: a running hash always, the lines themselves when asked for. */
export class Trace {
  readonly #lines: TraceLine[] | undefined;
  #hash = 0x811c9dc5;
  #count = 0;
  /** Told each line and each fact, in order. */
  onLine: ((line: TraceLine) => void) | undefined;
  onFact: ((fact: Fact) => void) | undefined;

  constructor(keepLines: boolean) {
    this.#lines = keepLines ? [] : undefined;
  }

  add(at: number, who: string, what: string): void {
    this.#hash = hashText(`${at.toFixed(3)}|${who}|${what}`, this.#hash);
    this.#count += 1;
    this.#lines?.push({ at, who, what });
    this.onLine?.({ at, who, what });
  }

  tell(fact: Fact): void {
    this.onFact?.(fact);
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
