import type { EtcdEvent } from '@xylem/etcd';
import type { KeyValue } from '@xylem/membership';

export interface MirrorPorts {
  /** Everything there is, and the revision it is of. */
  readonly list: () => Promise<{ readonly kvs: readonly KeyValue[]; readonly revision: bigint }>;
  readonly openWatch: (watch: number, fromRevision: bigint) => void;
  /** Told of each loss of the watch, and of each list that failed. */
  readonly onLost: (detail: string) => void;
}

/** Hears how the copy comes about, before whoever is told of changes. */
export interface MirrorJournal {
  /** Everything was listed: the copy begins anew with it. */
  listed(values: ReadonlyMap<string, string>): void;
  /** undefined: deleted. */
  changed(key: string, value: string | undefined): void;
}

const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 2_000;

/**
 * A copy of the records of authority that follows the store. Whenever the watch ends, everything is listed again: that needs no
 * trust in revisions, which go back when a store is restored.
 */
export class Mirror {
  readonly #ports: MirrorPorts;
  readonly #listeners = new Set<() => void>();
  #journal: MirrorJournal | undefined;
  #values = new Map<string, string>();
  /** By prefix, as long as nothing under it changes: renewals come all the time, and hardly anything else. */
  readonly #sorted = new Map<string, readonly string[]>();
  #revision = 0n;
  #watch = 0;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  /** Monotonic; undefined while the store is followed. */
  #lostAt: number | undefined;

  constructor(ports: MirrorPorts) {
    this.#ports = ports;
  }

  /** Begins to follow. */
  start(): void {
    void this.#follow();
  }

  /** Before `start`. One journal at most. */
  keepJournal(journal: MirrorJournal): void {
    this.#journal = journal;
  }

  /** For how long the store has not been followed, milliseconds: this copy may be that old. 0 while it is. */
  get behindMs(): number {
    return this.#lostAt === undefined ? 0 : performance.now() - this.#lostAt;
  }

  /** The revision that this copy is of; 0n before the first list. */
  get revision(): bigint {
    return this.#revision;
  }

  get(key: string): string | undefined {
    return this.#values.get(key);
  }

  /** Values of the keys that start with `prefix`, in key order; the same array until one of them changes. */
  under(prefix: string): readonly string[] {
    const known = this.#sorted.get(prefix);
    if (known !== undefined) return known;
    const sorted = [...this.#values.entries()]
      .filter(([key]) => key.startsWith(prefix))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, value]) => value);
    this.#sorted.set(prefix, sorted);
    return sorted;
  }

  /** Called after each change; returns the way to stop. */
  onChange(listener: () => void): () => void {
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  /** Events of the watch. */
  told(event: EtcdEvent): void {
    if (this.#closed || !('watch' in event) || event.watch !== this.#watch) return;
    switch (event.type) {
      case 'watchOpened':
        return;
      case 'watchAdvanced':
        for (const change of event.events) {
          if (change.type === 'put') this.#change(change.kv.key, change.kv.value);
          else this.#change(change.key, undefined);
        }
        this.#revision = event.revision;
        this.#failures = 0;
        if (event.events.length > 0) this.#notify();
        return;
      case 'watchCompacted':
        return this.#again('the revisions it needed were compacted');
      case 'watchLost':
        return this.#again(event.detail);
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#listeners.clear();
  }

  async #follow(): Promise<void> {
    try {
      const { kvs, revision } = await this.#ports.list();
      if (this.#closed) return;
      this.#values = new Map(kvs.map(({ key, value }) => [key, value]));
      this.#sorted.clear();
      this.#revision = revision;
      this.#lostAt = undefined;
      this.#watch += 1;
      this.#ports.openWatch(this.#watch, revision + 1n);
      this.#journal?.listed(this.#values);
      this.#notify();
    } catch (error) {
      this.#again(error instanceof Error ? error.message : String(error));
    }
  }

  #change(key: string, value: string | undefined): void {
    if (value === undefined) this.#values.delete(key);
    else this.#values.set(key, value);
    for (const prefix of this.#sorted.keys()) if (key.startsWith(prefix)) this.#sorted.delete(prefix);
    this.#journal?.changed(key, value);
  }

  #again(detail: string): void {
    if (this.#closed) return;
    this.#lostAt ??= performance.now();
    this.#ports.onLost(detail);
    const pause = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures += 1;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#follow(), pause);
  }

  #notify(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
