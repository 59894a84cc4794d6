export interface BufferPoolOptions {
  /** Length of each buffer. */
  readonly bytes: number;
  /** Buffers that are kept while nobody uses them: what the pool holds at most when all is quiet. */
  readonly spare: number;
}

/** Buffers of one length that are used again, so that they are no garbage. Their content is whatever was there before. */
export class BufferPool {
  readonly #options: BufferPoolOptions;
  readonly #spare: Buffer[] = [];

  constructor(options: BufferPoolOptions) {
    this.#options = options;
  }

  take(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.#options.bytes);
  }

  /** Once, and only when nobody reads it any more. One that is never given back is garbage like any other. */
  giveBack(buffer: Buffer): void {
    if (this.#spare.length < this.#options.spare) this.#spare.push(buffer);
  }
}
