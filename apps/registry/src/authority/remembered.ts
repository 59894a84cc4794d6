import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { AuditLog } from '@xylem/audit';
import { AUTHORITY_PREFIX, Ledger, REVOCATIONS_PREFIX, TRUST_KEY, unchanged } from '@xylem/authority';
import type { LedgerEntry, PlanStep, Read } from '@xylem/authority';
import { readKeyFile, writeKeyFile } from '@xylem/identity';
import { OperatingError } from '@xylem/service';
import * as z from 'zod';
import { AuthorityError } from './problem.ts';
import type { AuthorityStore, Decode } from './store.ts';

export interface RememberedOptions {
  /** `authority.dir` */
  readonly directory: string;
  /** Longest life of a certificate. */
  readonly longestTtlMs: number;
  readonly audit: AuditLog;
  /** Wall clock. */
  readonly now: () => number;
  /** Something in the store was older than what is remembered, and is as it was again. */
  readonly onPutBack: (key: string) => void;
  /** It cannot be kept on disk, or not be put back now. One line. */
  readonly onFailure: (detail: string) => void;
}

const FILE = 'ledger.json';
/** Joins come in hundreds; what a crash in between forgets is known to the store. */
const WRITE_DELAY_MS = 200;
const RETRY_MS = 1_000;

const file = z.object({
  entries: z.array(z.object({ key: z.string(), value: z.string(), untilMs: z.number().optional() })),
});

/**
 * What one replica remembers of the authority, on its own disk, and puts back into a store that was restored from an older backup: see
 * `Ledger`. Until it is back, whatever would be decided by the older record is put off.
 */
export class Remembered {
  readonly #options: RememberedOptions;
  readonly #store: AuthorityStore;
  readonly #ledger: Ledger;
  readonly #path: string;
  #writing: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #repairing: Promise<void> | undefined;
  #closed = false;

  private constructor(options: RememberedOptions, store: AuthorityStore, entries: readonly LedgerEntry[]) {
    this.#options = options;
    this.#store = store;
    this.#path = join(options.directory, FILE);
    this.#ledger = new Ledger(options.longestTtlMs, entries);
  }

  /** Before the store's mirror starts. Throws an OperatingError or KeyFileError when the file cannot be used. */
  static open(options: RememberedOptions, store: AuthorityStore): Remembered {
    const remembered = new Remembered(options, store, readEntries(join(options.directory, FILE)));
    store.mirror.keepJournal({
      listed: (values) => remembered.#listed(values),
      changed: (key, value) => remembered.#changed(key, value),
    });
    return remembered;
  }

  /** The store, but for reads that are older than what is remembered: these reject with an AuthorityError `unavailable`. */
  guarded(): AuthorityStore {
    const store = this.#store;
    return {
      mirror: store.mirror,
      read: (key, decode) => this.#read(key, decode),
      list: (prefix, decode) => store.list(prefix, decode),
      commit: (plan) => store.commit(plan),
      close: () => store.close(),
    };
  }

  /** Puts the trust of the domain back, where the store's is older or gone. Rejects with a StoreDownError or an AuditError. */
  async restoreTrust(): Promise<void> {
    const known = this.#ledger.entries(this.#options.now()).find(({ key }) => key === TRUST_KEY);
    if (known !== undefined) await this.#putBack(known);
  }

  /** Writes what is not on disk yet. Idempotent. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    if (this.#writing !== undefined) this.#write();
  }

  async #read<Record>(key: string, decode: Decode<Record>): Promise<Read<Record>> {
    let text: string | undefined;
    const read = await this.#store.read(key, (value) => {
      text = value;
      return decode(value);
    });
    if (this.#ledger.contradicted(key, text, this.#options.now()) === undefined) return read;
    this.#repair();
    const detail = 'the store is older than what this registry remembers, and is being put right';
    throw new AuthorityError('unavailable', detail, 'try again');
  }

  #listed(values: ReadonlyMap<string, string>): void {
    if (this.#ledger.lost(values, this.#options.now()).length > 0) this.#repair();
    let changed = false;
    for (const [key, value] of values) changed = this.#ledger.note(key, value) || changed;
    if (changed) this.#writeSoon();
  }

  #changed(key: string, value: string | undefined): void {
    if (this.#ledger.note(key, value)) this.#writeSoon();
    if (this.#ledger.contradicted(key, value, this.#options.now()) !== undefined) this.#repair();
  }

  /** One at a time; again after a while as long as something could not be put back. */
  #repair(): void {
    if (this.#closed || this.#repairing !== undefined) return;
    clearTimeout(this.#retry);
    this.#repairing = this.#putAllBack()
      .catch((error: unknown) => {
        if (this.#closed) return;
        this.#options.onFailure(error instanceof Error ? error.message : String(error));
        this.#retry = setTimeout(() => this.#repair(), RETRY_MS);
      })
      .finally(() => {
        this.#repairing = undefined;
      });
  }

  async #putAllBack(): Promise<void> {
    for (const entry of this.#ledger.entries(this.#options.now())) {
      if (this.#closed) return;
      await this.#putBack(entry);
    }
  }

  async #putBack(entry: LedgerEntry): Promise<void> {
    const { audit, now, onPutBack } = this.#options;
    const { key } = entry;
    const read = await this.#store.read(key, (text) => text);
    const known = this.#ledger.contradicted(key, read.record, now());
    if (known === undefined) return;
    const subject = subjectOf(key);
    // First the line, as for everything that is done about authority.
    await audit.commit({ kind: 'authority.restored', actor: 'registry', subject, outcome: 'done' });
    const step = stepFor(known, read.lease, now());
    // Somebody else's change meanwhile, another replica's repair above all: the watch brings it, and it is looked at again.
    if (await this.#store.commit({ compares: [unchanged(read)], steps: [step] })) onPutBack(subject);
  }

  #writeSoon(): void {
    this.#writing ??= setTimeout(() => this.#write(), WRITE_DELAY_MS);
  }

  #write(): void {
    clearTimeout(this.#writing);
    this.#writing = undefined;
    try {
      writeKeyFile(this.#path, `${JSON.stringify({ entries: this.#ledger.entries(this.#options.now()) })}\n`);
    } catch (error) {
      this.#options.onFailure(error instanceof Error ? error.message : String(error));
    }
  }
}

function readEntries(path: string): readonly LedgerEntry[] {
  if (!existsSync(path)) return [];
  let parsed: unknown;
  try {
    parsed = JSON.parse(readKeyFile(path));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const known = file.safeParse(parsed);
  if (known.success) return known.data.entries.map(({ key, value, untilMs }) => ({ key, value, untilMs }));
  throw new OperatingError(`${path} is damaged; restore it, or remove it when the store was not restored since`);
}

function stepFor({ key, value, untilMs }: LedgerEntry, lease: bigint, nowMs: number): PlanStep {
  return key.startsWith(REVOCATIONS_PREFIX) && untilMs !== undefined
    ? { type: 'putFor', key, value, ttlMs: untilMs - nowMs }
    : { type: 'put', key, value, lease };
}

/** Tokens lie under hashes, of which eight digits are shown. */
function subjectOf(key: string): string {
  const name = key.slice(AUTHORITY_PREFIX.length);
  return name.startsWith('tokens/') ? name.slice(0, 'tokens/'.length + 8) : name;
}
