/** Longest text that is taken from another process: one line for a person. */
const MAX_TEXT = 256;

/** What another process says, as it may be logged, audited and shown: one line of printable ASCII. */
export function plainText(text: string, limit = MAX_TEXT): string {
  // Cut first: what is thrown away need not be looked at.
  return text.slice(0, limit).replaceAll(/[^\x20-\x7e]/g, '?');
}
