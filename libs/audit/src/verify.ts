import { createReadStream } from 'node:fs';
import { chainOf, FIRST_HEAD, MAX_LINE_CHARACTERS, readLine } from './line.ts';
import type { ChainHead } from './line.ts';
import { AuditError } from './types.ts';

/** What is wrong with one line. */
export interface AuditFault {
  readonly path: string;
  /** From 1. */
  readonly line: number;
  readonly what: string;
}

export interface AuditReport {
  readonly lines: number;
  /** Keep it elsewhere: only so can lines cut off at the end be noticed later. */
  readonly head: ChainHead;
  /** Sequence of the first line; 0 when there is none. Above 1: earlier files were not given. */
  readonly firstSequence: number;
  /** Lines that the log itself says were lost or torn. */
  readonly lost: number;
  readonly faults: readonly AuditFault[];
}

const MAX_FAULTS = 100;

/**
 * Reads audit files in the order given, oldest first, and follows the chain: a line changed, missing, repeated or moved is a
 * fault. `expected`: the head of an earlier report, which must be met on the way. Rejects with an AuditError when a file cannot be read.
 */
export async function verifyAudit(paths: readonly string[], expected?: string): Promise<AuditReport> {
  const check = new ChainCheck(expected);
  for (const path of paths) {
    try {
      let number = 0;
      for await (const text of linesOf(path)) {
        number += 1;
        check.line(path, number, text);
      }
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      throw new AuditError(`cannot read ${path}: ${detail}`, { cause: error });
    }
  }
  return check.report(paths.at(-1) ?? '');
}

class ChainCheck {
  readonly #faults: AuditFault[] = [];
  readonly #expected: string | undefined;
  #head: ChainHead = FIRST_HEAD;
  #first = 0;
  #lines = 0;
  #lost = 0;
  #torn: { readonly path: string; readonly line: number; readonly length: number } | undefined;
  #met: boolean;

  constructor(expected: string | undefined) {
    this.#expected = expected;
    this.#met = expected === undefined;
  }

  line(path: string, number: number, text: string): void {
    const line = readLine(text);
    const sequence = line.kind === 'line' ? line.fields['sequence'] : undefined;
    if (line.kind === 'malformed' || typeof sequence !== 'number' || sequence < 1) {
      this.#endTorn(false);
      this.#torn = { path, line: number, length: text.length };
      return;
    }
    const { fields, body, chain } = line;
    const details = fields['details'];
    this.#endTorn(fields['kind'] === 'log.recovered' && valueOf(details, 'tornBytes') === this.#torn?.length);
    if (fields['kind'] === 'log.dropped') this.#lost += Number(valueOf(details, 'lines') ?? 0);
    if (this.#first === 0) {
      this.#first = sequence;
      // What came before is not here, so the first line is taken at its word; FIRST_HEAD is known.
      if (sequence === 1 && chain !== chainOf(FIRST_HEAD.chain, body)) this.#fault(path, number, CHANGED);
    } else if (sequence !== this.#head.sequence + 1) {
      this.#fault(
        path,
        number,
        `line ${sequence} follows line ${this.#head.sequence}: lines are missing, repeated or moved`,
      );
    } else if (chain !== chainOf(this.#head.chain, body)) {
      this.#fault(path, number, CHANGED);
    }
    this.#head = { sequence, chain };
    this.#met ||= chain === this.#expected;
    this.#lines += 1;
  }

  report(lastPath: string): AuditReport {
    this.#endTorn(false);
    if (!this.#met)
      this.#fault(lastPath, this.#lines, 'the line whose chain was expected is not there: lines were cut off');
    const { sequence, chain } = this.#head;
    return {
      lines: this.#lines,
      head: { sequence, chain },
      firstSequence: this.#first,
      lost: this.#lost,
      faults: this.#faults,
    };
  }

  /** A line that is none is a fault, unless the next one says that a crash tore it. */
  #endTorn(explained: boolean): void {
    if (this.#torn !== undefined && !explained) this.#fault(this.#torn.path, this.#torn.line, 'is not an audit line');
    if (this.#torn !== undefined && explained) this.#lost += 1;
    this.#torn = undefined;
  }

  #fault(path: string, line: number, what: string): void {
    if (this.#faults.length < MAX_FAULTS) this.#faults.push({ path, line, what });
  }
}

const CHANGED = 'does not continue the chain: it, or the line before it, was changed';

function valueOf(details: unknown, key: string): unknown {
  return typeof details === 'object' && details !== null ? Reflect.get(details, key) : undefined;
}

/** Lines of a file; a longer one than any audit line is cut, and so not one. */
async function* linesOf(path: string): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of createReadStream(path, { encoding: 'latin1' })) {
    const lines = `${rest}${String(chunk)}`.split('\n');
    rest = (lines.pop() ?? '').slice(0, MAX_LINE_CHARACTERS + 1);
    yield* lines;
  }
  if (rest !== '') yield rest;
}
