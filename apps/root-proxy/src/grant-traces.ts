/** A deployment may have more claims than this, but their traces are of use for minutes only. */
const MAX_TRACES = 4_096;

/** Which trace a claim belongs to, for the spans of its record and release. Forgets: by release, and the oldest when there are many. */
export class GrantTraces {
  readonly #traces = new Map<string, string>();

  set(leaf: string, slot: number, traceparent: string): void {
    const key = keyOf(leaf, slot);
    this.#traces.delete(key);
    this.#traces.set(key, traceparent);
    const [oldest] = this.#traces.keys();
    if (this.#traces.size > MAX_TRACES && oldest !== undefined) this.#traces.delete(oldest);
  }

  get(leaf: string, slot: number): string | undefined {
    return this.#traces.get(keyOf(leaf, slot));
  }

  /** The claim of this trace is released. A claim that was granted in the meantime has another one, which stays. */
  released(leaf: string, slot: number, traceparent: string | undefined): void {
    if (this.get(leaf, slot) === traceparent) this.#traces.delete(keyOf(leaf, slot));
  }

  get size(): number {
    return this.#traces.size;
  }
}

function keyOf(leaf: string, slot: number): string {
  return `${leaf}/${slot}`;
}
