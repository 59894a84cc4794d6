/** Something wrong with the configuration. All of them are reported together. */
export interface ConfigProblem {
  /** Dotted key, e.g. `tunnel.listen`, or the unknown name as it was written. */
  readonly key: string;
  /** Where the value came from, e.g. `root.yaml:12`, `XYLEM_TUNNEL_LISTEN`, `--tunnel-listen`; empty for a missing key. */
  readonly source: string;
  /** What is wrong and what to do about it, one line. */
  readonly detail: string;
}

/** Lines for stderr: a heading, then one line per problem, sorted by key. */
export function formatProblems(service: string, problems: readonly ConfigProblem[]): string {
  const sorted = problems.toSorted((a, b) => compare(a.key, b.key) || compare(a.source, b.source));
  const width = Math.max(...sorted.map((problem) => problem.key.length));
  const heading = `${service}: ${sorted.length} ${sorted.length === 1 ? 'problem' : 'problems'} in the configuration`;
  const lines = sorted.map(({ key, source, detail }) => {
    return `  ${printable(key).padEnd(width)}  ${printable(detail)}${source === '' ? '' : ` (${printable(source)})`}`;
  });
  return [heading, ...lines, `Try: ${service} --help`, ''].join('\n');
}

/** Text from outside made safe for a terminal and for one line: everything but printable characters is escaped. */
export function printable(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => {
    return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  });
}

/** The candidate that a misspelt name most likely meant; undefined when none is near. */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  const limit = Math.max(1, Math.floor(name.length / 3));
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Levenshtein distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
