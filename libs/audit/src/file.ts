import { constants } from 'node:fs';
import { open, readdir, rename, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { chainLine, chainOf, FIRST_HEAD, MAX_LINE_CHARACTERS, readLine } from './line.ts';
import type { AuditWriter, ChainHead } from './line.ts';
import { AuditError } from './types.ts';

const MODE = 0o600;
const ASIDE = /^\d{12}$/;
const ASIDE_DIGITS = 12;

/** How the file was found when it was opened. */
export interface FoundTail {
  readonly head: ChainHead;
  /** Bytes after the last line feed that are no line, left by a crash in the middle of a write. */
  readonly tornBytes: number;
  /** The last line is whole but for its line feed. */
  readonly unended: boolean;
}

/** One audit file, open for appending. Every method rejects with the system's error; after one, `repair` comes first. */
export class AuditFile {
  readonly path: string;
  readonly #writer: AuditWriter;
  #handle: FileHandle;
  #size: number;
  #head: ChainHead;
  /** What a failed append may have written a part of; empty while nothing has failed. */
  #attempted = '';

  private constructor(path: string, writer: AuditWriter, handle: FileHandle, size: number, head: ChainHead) {
    this.path = path;
    this.#writer = writer;
    this.#handle = handle;
    this.#size = size;
    this.#head = head;
  }

  /** Opens or creates, and ends a torn line so that the next stands alone; rejects with an AuditError that names the remedy. */
  static async open(
    path: string,
    writer: AuditWriter,
  ): Promise<{ readonly file: AuditFile; readonly tornBytes: number }> {
    let handle: FileHandle | undefined;
    try {
      handle = await openForAppending(path);
      const { size } = await handle.stat();
      const tail = size === 0 ? await tailOfLastAside(path) : await readTail(path, handle, size);
      const file = new AuditFile(path, writer, handle, size, tail.head);
      if (tail.tornBytes > 0 || tail.unended) await file.#append('\n', tail.head);
      return { file, tornBytes: tail.tornBytes };
    } catch (error) {
      await handle?.close();
      if (error instanceof AuditError) throw error;
      const detail = error instanceof Error ? error.message : String(error);
      throw new AuditError(`cannot open the audit file ${path}: ${detail}; make its folder writable for this service`, {
        cause: error,
      });
    }
  }

  get size(): number {
    return this.#size;
  }

  get head(): ChainHead {
    return this.#head;
  }

  /** Appends entries in order and waits for the disk. All or nothing, as far as the next `repair` can make it so. */
  async append(
    entries: readonly { readonly atMs: number; readonly entry: Parameters<typeof chainLine>[3] }[],
  ): Promise<void> {
    let head = this.#head;
    let text = '';
    for (const { atMs, entry } of entries) {
      const line = chainLine(head, atMs, this.#writer, entry);
      text += `${line.text}\n`;
      head = line.head;
    }
    await this.#append(text, head);
  }

  /** Takes back what a failed append may have written, and nothing that anybody else has: that stays, and is refused. */
  async repair(): Promise<void> {
    if (this.#attempted !== '') {
      const tail = await this.#beyond(this.#attempted.length);
      if (this.#attempted.startsWith(tail)) await this.#handle.truncate(this.#size);
      this.#attempted = '';
    }
    await this.#assertSoleWriter();
  }

  /** Moves the file aside, named by its last line, and goes on in a new one that continues the chain. As before when it fails. */
  async rotate(): Promise<void> {
    const aside = `${this.path}.${String(this.#head.sequence).padStart(ASIDE_DIGITS, '0')}`;
    if ((await stat(aside).catch(() => undefined)) !== undefined) {
      throw new AuditError(`${aside} is there already; move it away, so that ${this.path} can take its place`);
    }
    await rename(this.path, aside);
    let next: FileHandle;
    try {
      next = await openForAppending(this.path);
    } catch (error) {
      await rename(aside, this.path);
      throw error;
    }
    await this.#handle.close();
    this.#handle = next;
    this.#size = 0;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #append(text: string, head: ChainHead): Promise<void> {
    await this.#assertSoleWriter();
    this.#attempted = text;
    await this.#handle.appendFile(text);
    await this.#handle.datasync();
    this.#attempted = '';
    this.#size += text.length;
    this.#head = head;
  }

  /** What the file holds after what was written here, up to one character more than `length`. */
  async #beyond(length: number): Promise<string> {
    const { buffer, bytesRead } = await this.#handle.read(Buffer.alloc(length + 1), 0, length + 1, this.#size);
    return buffer.toString('latin1', 0, bytesRead);
  }

  async #assertSoleWriter(): Promise<void> {
    const [{ size, ino }, onPath] = await Promise.all([this.#handle.stat(), stat(this.path).catch(() => undefined)]);
    if (onPath?.ino !== ino) {
      throw new AuditError(`${this.path} was moved or removed while in use; put it back, or restart the service`);
    }
    if (size === this.#size) return;
    throw new AuditError(`${this.path} was changed by somebody else; give every service an audit file of its own`);
  }
}

function openForAppending(path: string): Promise<FileHandle> {
  // Not followed when it is a symbolic link: whoever can write to the folder could point it elsewhere.
  return open(path, constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW, MODE);
}

/** An empty file continues the one that was moved aside last, if there is one. */
async function tailOfLastAside(path: string): Promise<FoundTail> {
  const prefix = `${basename(path)}.`;
  const names = await readdir(dirname(path));
  const asides = names.filter((name) => name.startsWith(prefix) && ASIDE.test(name.slice(prefix.length)));
  const last = asides.toSorted().at(-1);
  if (last === undefined) return { head: FIRST_HEAD, tornBytes: 0, unended: false };
  const aside = join(dirname(path), last);
  const handle = await open(aside, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { head } = await readTail(aside, handle, (await handle.stat()).size);
    return { head, tornBytes: 0, unended: false };
  } finally {
    await handle.close();
  }
}

async function readTail(path: string, handle: FileHandle, size: number): Promise<FoundTail> {
  const length = Math.min(size, 2 * MAX_LINE_CHARACTERS);
  const { buffer } = await handle.read(Buffer.alloc(length), 0, length, size - length);
  const lines = buffer.toString('latin1').split('\n');
  const torn = lines.pop() ?? '';
  const last = lines.at(-1);
  // The first line of a file that follows another was torn.
  const before = last === undefined ? (await tailOfLastAside(path)).head : headOf(last);
  if (before === undefined) {
    throw new AuditError(`${path} ends with a line that is not an audit line; move it aside and start again`);
  }
  const whole = headOf(torn, before);
  return whole === undefined
    ? { head: before, tornBytes: torn.length, unended: false }
    : { head: whole, tornBytes: 0, unended: true };
}

/** undefined for a text that is no line, or not the one after `before`. */
function headOf(text: string, before?: ChainHead): ChainHead | undefined {
  const line = readLine(text);
  if (line.kind === 'malformed') return undefined;
  const { chain, body } = line;
  const sequence = line.fields['sequence'];
  if (typeof sequence !== 'number') return undefined;
  return before === undefined || chain === chainOf(before.chain, body) ? { sequence, chain } : undefined;
}
