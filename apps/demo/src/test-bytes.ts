const CHUNK_BYTES = 65_536;
const MULTIPLIER = 1_664_525;
const INCREMENT = 1_013_904_223;

/**
 * The same bytes on every machine, different in every chunk (a linear congruential generator, Numerical Recipes), so
 * that bytes lost, repeated or swapped change the digest.
 */
export function* testBytes(total: number): Generator<Buffer> {
  let state = 1;
  for (let sent = 0; sent < total; sent += CHUNK_BYTES) {
    const words = new Uint32Array(CHUNK_BYTES / Uint32Array.BYTES_PER_ELEMENT);
    for (const index of words.keys()) {
      state = (Math.imul(state, MULTIPLIER) + INCREMENT) >>> 0;
      words[index] = state;
    }
    yield Buffer.from(words.buffer, 0, Math.min(CHUNK_BYTES, total - sent));
  }
}
