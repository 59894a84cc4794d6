import { readFileSync, writeFileSync } from 'node:fs';

const DOCUMENT = new URL('../../../docs/SIMULATION.md', import.meta.url);

/** Puts lines between the markers `<!-- name -->` and `<!-- /name -->`. Throws when the document has no such markers. */
export function writeTable(name: string, lines: readonly string[]): void {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const text = readFileSync(DOCUMENT, 'utf8');
  const [from, to] = [text.indexOf(open), text.indexOf(close)];
  if (from < 0 || to < from)
    throw new Error(`docs/SIMULATION.md has no place for ${name}: put ${open} and ${close} into it`);
  writeFileSync(DOCUMENT, `${text.slice(0, from + open.length)}\n\n${lines.join('\n')}\n\n${text.slice(to)}`);
}
