/** Ends the process on our own bug. Never for what a peer, a user or the network did. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}

/** Marks a switch as exhaustive: compiles only when every case was handled. */
export function unreachable(value: never): never {
  throw new Error(`assertion failed: unhandled ${JSON.stringify(value)}`);
}
