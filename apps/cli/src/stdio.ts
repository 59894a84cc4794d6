import { createWriteStream, fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { Readable, Writable } from 'node:stream';

/**
 * Standard input and output as one connection with independent ends: the end of input is a half-close, and ending the
 * output closes it for the reader while input goes on. (process.stdout can do neither: Node never closes it.)
 */
export class StdioDuplex extends Duplex {
  readonly #input: Readable;
  readonly #output: Writable;

  constructor(input: Readable = process.stdin, output: Writable = openStdout()) {
    super({ allowHalfOpen: true, emitClose: true });
    this.#input = input;
    this.#output = output;
    input.pause();
    input.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) input.pause();
    });
    input.on('end', () => this.push(null));
    for (const stream of [input, output]) stream.on('error', (error) => this.destroy(error));
    output.on('close', () => {
      if (!this.writableFinished) this.destroy(new Error('standard output was closed'));
    });
  }

  override _read(): void {
    this.#input.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#output.write(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#output.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#input.destroy();
    this.#output.destroy();
    done(error);
  }
}

const STDOUT = 1;

function openStdout(): Writable {
  const kind = fstatSync(STDOUT);
  if (kind.isFIFO() || kind.isSocket()) return new Socket({ fd: STDOUT, readable: false, writable: true });
  return createWriteStream('', { fd: STDOUT });
}
