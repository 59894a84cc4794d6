/** Longer differing parts are shown as replaced whole: the table below grows with their product. */
const MAX_LINES = 2_000;

/** What turns one text into another, line by line: `-old`, `+new`, and ` same` beside them. Empty for equal texts. */
export function lineDiff(before: string, after: string): readonly string[] {
  const old = linesOf(before);
  const fresh = linesOf(after);
  let head = 0;
  while (head < old.length && head < fresh.length && old[head] === fresh[head]) head += 1;
  let tail = 0;
  const most = Math.min(old.length, fresh.length) - head;
  while (tail < most && old[old.length - 1 - tail] === fresh[fresh.length - 1 - tail]) tail += 1;
  if (head + tail === old.length && old.length === fresh.length) return [];
  const left = old.slice(head, old.length - tail);
  const right = fresh.slice(head, fresh.length - tail);
  const middle =
    left.length > MAX_LINES || right.length > MAX_LINES
      ? [...left.map((line) => `-${line}`), ...right.map((line) => `+${line}`)]
      : diffOf(left, right);
  const context = (lines: readonly string[]): readonly string[] => lines.map((line) => ` ${line}`);
  return [
    ...context(old.slice(Math.max(0, head - 2), head)),
    ...middle,
    ...context(old.slice(old.length - tail, old.length - tail + Math.min(2, tail))),
  ];
}

function linesOf(text: string): readonly string[] {
  const lines = text.split(/\r?\n/);
  return lines.at(-1) === '' ? lines.slice(0, -1) : lines;
}

/** By the longest common subsequence. */
function diffOf(left: readonly string[], right: readonly string[]): readonly string[] {
  const width = right.length + 1;
  const longest = new Uint16Array((left.length + 1) * width);
  const at = (row: number, column: number): number => longest[row * width + column] ?? 0;
  for (let row = left.length - 1; row >= 0; row -= 1) {
    for (let column = right.length - 1; column >= 0; column -= 1) {
      longest[row * width + column] =
        left[row] === right[column] ? at(row + 1, column + 1) + 1 : Math.max(at(row + 1, column), at(row, column + 1));
    }
  }
  const lines: string[] = [];
  let row = 0;
  let column = 0;
  while (row < left.length || column < right.length) {
    const isSame = row < left.length && column < right.length && left[row] === right[column];
    if (isSame) {
      lines.push(` ${left[row] ?? ''}`);
      row += 1;
      column += 1;
    } else if (column >= right.length || (row < left.length && at(row + 1, column) >= at(row, column + 1))) {
      lines.push(`-${left[row] ?? ''}`);
      row += 1;
    } else {
      lines.push(`+${right[column] ?? ''}`);
      column += 1;
    }
  }
  return lines;
}
