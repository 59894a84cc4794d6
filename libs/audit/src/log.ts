import { AuditFile } from './file.ts';
import type { ChainHead } from './line.ts';
import { AuditError } from './types.ts';
import type { AuditEntry, AuditLog } from './types.ts';

export interface AuditLogOptions {
  readonly path: string;
  /** Which process writes; part of every line. */
  readonly service: string;
  readonly instance: string;
  /** Wall clock in milliseconds since 1970. Default Date.now. */
  readonly now?: () => number;
  /** Size at which the file is moved aside. Default 64 MiB. */
  readonly maxFileBytes?: number;
  /** Lines kept while the file cannot be written. Default 10,000. */
  readonly ringLines?: number;
  /** How long until a failed write is tried again. Default 1,000 ms. */
  readonly retryMs?: number;
  /**
   * Where the log stands: when it is opened and closed, and every 15 minutes in which it grew. Kept elsewhere, it shows later that
   * lines were cut off at the end, which the file itself cannot.
   */
  readonly onHead?: (head: ChainHead) => void;
  /** An alarm: lines cannot be written or a full file not be moved aside, or (undefined) can be again. Called on change only. */
  readonly onAlarm: (problem: AuditError | undefined) => void;
}

const MAX_FILE_BYTES = 64 * 1024 * 1024;
const RING_LINES = 10_000;
const RETRY_MS = 1_000;
const HEAD_INTERVAL_MS = 15 * 60_000;
/** Entries in line for one write. Above what enrolment and administration take on at once. */
const MAX_COMMITS = 20_000;
/** Lines written with one wait for the disk. */
const BATCH_LINES = 512;

interface Queued {
  readonly atMs: number;
  readonly entry: AuditEntry;
  readonly committed?: PromiseWithResolvers<void>;
}

/** Opens or creates an audit file and continues its chain. Rejects with an AuditError when that cannot be done. */
export async function openAuditLog(options: AuditLogOptions): Promise<AuditLog> {
  const { path, service, instance } = options;
  const { file, tornBytes } = await AuditFile.open(path, { service, instance });
  const log = new FileAuditLog(file, options);
  if (tornBytes > 0) {
    log.record({ kind: 'log.recovered', actor: service, subject: path, outcome: 'done', details: { tornBytes } });
  }
  return log;
}

/** One write at a time; what comes meanwhile shares the next one and its wait for the disk. */
class FileAuditLog implements AuditLog {
  readonly #file: AuditFile;
  readonly #options: AuditLogOptions;
  readonly #now: () => number;
  readonly #queue: Queued[] = [];
  #writing: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #problem: AuditError | undefined;
  #dropped = 0;
  /** Entries that somebody waited for and that were refused since the last write. */
  #refused = 0;
  /** Monotonic; 0 while the last time went well. */
  #rotateAgainAt = 0;
  #closed = false;
  readonly #heads: NodeJS.Timeout;
  #told = -1;

  constructor(file: AuditFile, options: AuditLogOptions) {
    this.#file = file;
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#tellHead();
    this.#heads = setInterval(() => this.#tellHead(), HEAD_INTERVAL_MS).unref();
  }

  get healthy(): boolean {
    return this.#problem === undefined;
  }

  record(entry: AuditEntry): void {
    if (this.#closed || this.#queue.length >= (this.#options.ringLines ?? RING_LINES)) {
      this.#dropped += 1;
      return;
    }
    this.#queue.push({ atMs: this.#now(), entry });
    this.#start();
  }

  commit(entry: AuditEntry): Promise<void> {
    if (this.#closed) return Promise.reject(new AuditError(`the audit file ${this.#file.path} is closed`));
    if (this.#problem !== undefined) {
      this.#refused += 1;
      return Promise.reject(this.#problem);
    }
    if (this.#queue.length >= MAX_COMMITS) {
      return Promise.reject(new AuditError(`the audit file ${this.#file.path} is written too slowly; try again`));
    }
    const committed = Promise.withResolvers<void>();
    this.#queue.push({ atMs: this.#now(), entry, committed });
    this.#start();
    return committed.promise;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#retry);
    clearInterval(this.#heads);
    await this.#writing;
    if (this.#problem === undefined) await this.#drain();
    this.#rejectCommits(new AuditError(`the audit file ${this.#file.path} was closed`));
    this.#tellHead();
    await this.#file.close();
  }

  #tellHead(): void {
    const { head } = this.#file;
    if (head.sequence === this.#told) return;
    this.#told = head.sequence;
    this.#options.onHead?.(head);
  }

  #start(): void {
    if (this.#writing !== undefined || this.#problem !== undefined) return;
    this.#writing = this.#drain().finally(() => {
      this.#writing = undefined;
      if (this.#queue.length > 0 && !this.#closed) this.#start();
    });
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue.slice(0, BATCH_LINES);
      const dropped = this.#dropped;
      try {
        await this.#file.append(dropped > 0 ? [...batch, this.#own('log.dropped', { lines: dropped })] : batch);
      } catch (error) {
        return this.#failed(error);
      }
      this.#queue.splice(0, batch.length);
      this.#dropped -= dropped;
      for (const { committed } of batch) committed?.resolve();
      this.#recovered();
      await this.#rotateWhenFull();
    }
  }

  /** What was written stays written: while the file cannot be moved aside it grows on, and that is an alarm. */
  async #rotateWhenFull(): Promise<void> {
    if (this.#file.size < (this.#options.maxFileBytes ?? MAX_FILE_BYTES) || performance.now() < this.#rotateAgainAt)
      return;
    try {
      await this.#file.rotate();
      if (this.#rotateAgainAt > 0) this.#options.onAlarm(undefined);
      this.#rotateAgainAt = 0;
    } catch (error) {
      if (this.#rotateAgainAt === 0)
        this.#options.onAlarm(problemOf(error, `cannot move the full audit file ${this.#file.path} aside`));
      this.#rotateAgainAt = performance.now() + (this.#options.retryMs ?? RETRY_MS);
    }
  }

  /** A line that the log itself has to say. */
  #own(kind: 'log.dropped' | 'log.recovered', details: Readonly<Record<string, number>>): Queued {
    const outcome = kind === 'log.dropped' ? 'failed' : 'done';
    const { service } = this.#options;
    return { atMs: this.#now(), entry: { kind, actor: service, subject: this.#file.path, outcome, details } };
  }

  /** Lines that nobody waits for stay; those that somebody waits for are refused and must not appear later. */
  #failed(cause: unknown): void {
    const problem = problemOf(cause, `cannot write the audit file ${this.#file.path}`);
    this.#rejectCommits(problem);
    if (this.#problem === undefined) this.#options.onAlarm(problem);
    this.#problem = problem;
    if (this.#closed) return;
    this.#retry = setTimeout(() => void this.#tryAgain(), this.#options.retryMs ?? RETRY_MS);
    this.#retry.unref();
  }

  async #tryAgain(): Promise<void> {
    this.#writing = this.#resume().finally(() => {
      this.#writing = undefined;
    });
    await this.#writing;
  }

  /** Only a line that is on disk shows that lines can be written again: it says what was refused meanwhile. */
  async #resume(): Promise<void> {
    try {
      await this.#file.repair();
      const refused = this.#refused;
      await this.#file.append([this.#own('log.recovered', { refused })]);
      this.#refused -= refused;
    } catch (error) {
      return this.#failed(error);
    }
    this.#recovered();
    await this.#drain();
  }

  #recovered(): void {
    if (this.#problem === undefined) return;
    this.#problem = undefined;
    this.#options.onAlarm(undefined);
  }

  #rejectCommits(problem: AuditError): void {
    const kept = this.#queue.filter(({ committed }) => {
      committed?.reject(problem);
      if (committed !== undefined) this.#refused += 1;
      return committed === undefined;
    });
    this.#queue.splice(0, this.#queue.length, ...kept);
  }
}

function problemOf(cause: unknown, what: string): AuditError {
  if (cause instanceof AuditError) return cause;
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new AuditError(`${what}: ${detail}; make room or mend the disk`, { cause });
}
