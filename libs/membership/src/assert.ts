/** Ends the process for a bug of our own; never for anything a peer or the store can cause. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`membership invariant broken: ${message}`);
}

/** The arm of an exhaustive switch that cannot be reached. */
export function unreachable(value: never): never {
  throw new Error(`membership met an unknown case: ${JSON.stringify(value)}`);
}
