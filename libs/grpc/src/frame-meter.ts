/**
 * Counts the frames of one HTTP/2 connection that cost their receiver more than their sender, or that nobody of us sends, so
 * that a flood of them ends the connection (CVE-2019-9512 to -9518; RFC 9113 10.5). nghttp2 bounds resets, CONTINUATION
 * and its own queue; a peer that reads its answers passes those bounds for ever.
 */

const HEADER_BYTES = 9;
/** RFC 9113 3.4. */
const PREFACE_BYTES = 24;
const WINDOW_MS = 10_000;

const DATA = 0x0;
const END_STREAM = 0x1;

/**
 * Most of a kind within ten seconds. Clients that measure the bandwidth with PING send one a round trip, and fast readers
 * return window some ten thousand times a second; the others come a few times in the life of a connection.
 */
const LIMITS: ReadonlyMap<number, { readonly name: string; readonly most: number }> = new Map([
  [0x2, { name: 'PRIORITY', most: 1_000 }],
  [0x4, { name: 'SETTINGS', most: 100 }],
  [0x5, { name: 'PUSH_PROMISE', most: 0 }],
  [0x6, { name: 'PING', most: 20_000 }],
  [0x7, { name: 'GOAWAY', most: 10 }],
  [0x8, { name: 'WINDOW_UPDATE', most: 500_000 }],
  [0x9, { name: 'CONTINUATION', most: 200 }],
]);
const EMPTY_DATA = { name: 'empty DATA', most: 1_000 };
const OTHER = { name: 'unknown', most: 100 };

/** What a peer that speaks HTTP/2 does more often than anybody needs. */
export interface FrameFlood {
  readonly frame: string;
  /** Within ten seconds. */
  readonly count: number;
}

/** Reads the bytes of one direction as they come, whole frames or not. */
export class FrameMeter {
  readonly #header = Buffer.alloc(HEADER_BYTES);
  readonly #counts = new Map<string, number>();
  #headerBytes = 0;
  /** Bytes until the next frame begins. */
  #skip: number;
  #windowEndsAt = 0;

  /** `preface`: the peer is a client, whose first bytes are the connection preface. */
  constructor(options: { readonly preface: boolean }) {
    this.#skip = options.preface ? PREFACE_BYTES : 0;
  }

  /** The first flood in what came, if there is one. `now`: monotonic milliseconds. */
  observe(chunk: Buffer, now: number): FrameFlood | undefined {
    let at = 0;
    while (at < chunk.length) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, chunk.length - at);
        this.#skip -= skipped;
        at += skipped;
        continue;
      }
      const taken = Math.min(HEADER_BYTES - this.#headerBytes, chunk.length - at);
      chunk.copy(this.#header, this.#headerBytes, at, at + taken);
      this.#headerBytes += taken;
      at += taken;
      if (this.#headerBytes < HEADER_BYTES) return undefined;
      this.#headerBytes = 0;
      const flood = this.#count(now);
      if (flood !== undefined) return flood;
    }
    return undefined;
  }

  #count(now: number): FrameFlood | undefined {
    const length = this.#header.readUIntBE(0, 3);
    const type = this.#header.readUInt8(3);
    this.#skip = length;
    const limit = type === DATA ? this.#dataLimit(length) : type > 0x9 ? OTHER : LIMITS.get(type);
    if (limit === undefined) return undefined;
    if (now >= this.#windowEndsAt) {
      this.#counts.clear();
      this.#windowEndsAt = now + WINDOW_MS;
    }
    const { name, most } = limit;
    const count = (this.#counts.get(name) ?? 0) + 1;
    this.#counts.set(name, count);
    return count > most ? { frame: name, count } : undefined;
  }

  #dataLimit(length: number): typeof EMPTY_DATA | undefined {
    const ends = (this.#header.readUInt8(4) & END_STREAM) !== 0;
    return length === 0 && !ends ? EMPTY_DATA : undefined;
  }
}
