import { AuditFile } from './file.ts';
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
  /** An alarm: lines cannot be written, or (undefined) can be again. Called on change only. */
  readonly onAlarm: (problem: AuditError | undefined) => void;
}

const MAX_FILE_BYTES = 64 * 1024 * 1024;
const RING_LINES = 10_000;
const RETRY_MS = 1_000;
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
    await file.endTornLine();
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
  #closed = false;

  constructor(file: AuditFile, options: AuditLogOptions) {
    this.#file = file;
    this.#options = options;
    this.#now = options.now ?? Date.now;
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
    if (this.#problem !== undefined) return Promise.reject(this.#problem);
    const committed = Promise.withResolvers<void>();
    this.#queue.push({ atMs: this.#now(), entry, committed });
    this.#start();
    return committed.promise;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#writing;
    if (this.#problem === undefined) await this.#drain();
    this.#rejectCommits(new AuditError(`the audit file ${this.#file.path} was closed`));
    await this.#file.close();
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
        await this.#write(batch, dropped);
      } catch (error) {
        return this.#failed(error);
      }
      this.#queue.splice(0, batch.length);
      this.#dropped -= dropped;
      for (const { committed } of batch) committed?.resolve();
      this.#recovered();
    }
  }

  async #write(batch: readonly Queued[], dropped: number): Promise<void> {
    const { service } = this.#options;
    const { path } = this.#file;
    const gap: Queued = {
      atMs: this.#now(),
      entry: { kind: 'log.dropped', actor: service, subject: path, outcome: 'failed', details: { lines: dropped } },
    };
    await this.#file.append(dropped > 0 ? [...batch, gap] : batch);
    if (this.#file.size >= (this.#options.maxFileBytes ?? MAX_FILE_BYTES)) await this.#file.rotate();
  }

  /** Lines that nobody waits for stay; those that somebody waits for are refused and must not appear later. */
  #failed(cause: unknown): void {
    const detail = cause instanceof Error ? cause.message : String(cause);
    const problem =
      cause instanceof AuditError
        ? cause
        : new AuditError(`cannot write the audit file ${this.#file.path}: ${detail}; make room or mend the disk`, {
            cause,
          });
    this.#rejectCommits(problem);
    if (this.#problem === undefined) this.#options.onAlarm(problem);
    this.#problem = problem;
    if (this.#closed) return;
    this.#retry = setTimeout(() => void this.#tryAgain(), this.#options.retryMs ?? RETRY_MS);
    this.#retry.unref();
  }

  async #tryAgain(): Promise<void> {
    const attempt = this.#file.repair().then(
      () => this.#drain(),
      (error: unknown) => this.#failed(error),
    );
    this.#writing = attempt.finally(() => {
      this.#writing = undefined;
    });
    await this.#writing;
    if (this.#queue.length === 0) this.#recovered();
  }

  #recovered(): void {
    if (this.#problem === undefined) return;
    this.#problem = undefined;
    this.#options.onAlarm(undefined);
  }

  #rejectCommits(problem: AuditError): void {
    const kept = this.#queue.filter(({ committed }) => {
      committed?.reject(problem);
      return committed === undefined;
    });
    this.#queue.splice(0, this.#queue.length, ...kept);
  }
}
