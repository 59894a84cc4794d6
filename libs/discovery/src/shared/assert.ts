/** Ends the process (by throwing) when our own code broke its contract. Never for what a peer did. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`bug in discovery: ${message}`);
}

/** For the default arm of an exhaustive switch. */
export function unreachable(value: never, what: string): never {
  throw new Error(`bug in discovery: unknown ${what} ${String(value)}`);
}
