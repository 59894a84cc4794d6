import { stripVTControlCharacters } from 'node:util';

const CLEAR_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';

/**
 * A block of lines at the end of a terminal that is drawn again in place, and only when it changed: text in it can be
 * selected and copied while nothing happens.
 */
export class Screen {
  readonly #out: NodeJS.WriteStream;
  #drawn: readonly string[] = [];

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  /** Lines are cut at the width of the terminal; the block at its height. */
  draw(lines: readonly string[]): void {
    const { columns, rows } = this.#out;
    const fitting = lines.slice(0, Math.max(1, rows - 1)).map((line) => cut(line, columns));
    if (fitting.length === this.#drawn.length && fitting.every((line, index) => line === this.#drawn[index])) return;
    const up = this.#drawn.length === 0 ? '' : `\u001b[${this.#drawn.length}A\r`;
    this.#out.write(`${up}${fitting.map((line) => line + CLEAR_LINE).join('\n')}\n${CLEAR_BELOW}`);
    this.#drawn = fitting;
  }

  /** The next draw starts below what is on the terminal. */
  release(): void {
    this.#drawn = [];
  }
}

/** Cuts plain text; a line with colours is left alone unless it is too long, and then loses them. */
function cut(line: string, width: number): string {
  const plain = stripVTControlCharacters(line);
  return plain.length <= width ? line : plain.slice(0, width);
}
