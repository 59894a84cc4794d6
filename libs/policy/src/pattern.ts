import type { Pattern } from './types.ts';

/**
 * Whether a name fits a pattern in which `*` stands for any run of characters, the empty one included. Everything else
 * stands for itself. Never backtracks beyond the last `*`, so the work is at most `pattern.length * name.length`
 * whatever the pattern; no regular expression is made from foreign text.
 */
export function matchesPattern(pattern: Pattern, name: string): boolean {
  let inPattern = 0;
  let inName = 0;
  /** Where to go on when what follows the last `*` does not fit: the `*` then takes one character more. */
  let star = -1;
  let starEnd = 0;
  while (inName < name.length) {
    if (pattern[inPattern] === '*') {
      star = inPattern;
      starEnd = inName;
      inPattern += 1;
    } else if (inPattern < pattern.length && pattern[inPattern] === name[inName]) {
      inPattern += 1;
      inName += 1;
    } else if (star >= 0) {
      starEnd += 1;
      inName = starEnd;
      inPattern = star + 1;
    } else {
      return false;
    }
  }
  while (pattern[inPattern] === '*') inPattern += 1;
  return inPattern === pattern.length;
}
