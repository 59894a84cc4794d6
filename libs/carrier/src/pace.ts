/** How fast one direction of a connection is read, decided by somebody who sees the others as well. */
export interface Lane {
  /** Bytes were read. False: no more is read until `go` was called, once, in a later turn of the event loop. True once closed. */
  passed(bytes: number): boolean;
  /** Nothing more is read. `go` is not called afterwards. Idempotent. */
  close(): void;
}

/** Makes the lane of one direction. `go` lets it be read again. */
export type OpenLane = (go: () => void) => Lane;

/** Something that is read, and can be held back. */
interface Source {
  pause(): void;
  resume(): void;
}

/** A source that two may hold back: the far end, by back-pressure, and its lane. It is read when neither does. */
export class PacedSource {
  readonly #source: Source;
  readonly #lane: Lane | undefined;
  #paused = false;
  #held = false;

  constructor(source: Source, open: OpenLane | undefined) {
    this.#source = source;
    this.#lane = open?.(() => {
      this.#held = false;
      if (!this.#paused) source.resume();
    });
  }

  passed(bytes: number): void {
    if (this.#lane === undefined || this.#lane.passed(bytes)) return;
    this.#held = true;
    this.#source.pause();
  }

  pause(): void {
    this.#paused = true;
    this.#source.pause();
  }

  resume(): void {
    this.#paused = false;
    if (!this.#held) this.#source.resume();
  }

  close(): void {
    this.#lane?.close();
  }
}
