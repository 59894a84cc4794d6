import { createHash, randomBytes } from 'node:crypto';
import { AUTHORITY_PREFIX, unchanged } from '@xylem/authority';
import type { PlanStep, Read } from '@xylem/authority';
import * as z from 'zod';
import { StoreDownError } from '../authority/store.ts';
import type { AuthorityStore } from '../authority/store.ts';

/** Failed logins of one user in one window, at all replicas together. */
export const FAILURES = 10;
export const WINDOW_MS = 60_000;
/** Names share counters, so that made-up names fill no store; two users of one counter are one in 16,384. */
const COUNTERS = 16_384;
/** A counter that changes each time it is read is one that many guess at. */
const TRIES = 8;
/** Outside the prefix that every replica mirrors: nobody has to be told of a guess. */
const GUESSES_PREFIX = `${AUTHORITY_PREFIX.slice(0, -'v1/'.length)}guesses/v1/`;

const counter = z.object({
  attempts: z.int().positive(),
  /** Milliseconds since 1970 by the clock of who began the window: for the answer only, the lease is what ends it. */
  untilMs: z.int(),
  /** No two writes have the same value, see AuthorityStore. */
  nonce: z.string(),
});
type Counter = z.output<typeof counter>;

function decodeCounter(text: string): Counter | undefined {
  try {
    return counter.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/**
 * Counts failed logins by user name, of users that exist and of others alike, so that the answer says nothing about who exists. The
 * counters are in the store: with one in each replica, n replicas would give n times the guesses. An attempt under way counts as
 * failed until it has succeeded. A counter lapses with its lease a window after the first attempt it counted.
 */
export class Guesses {
  readonly #store: Pick<AuthorityStore, 'read' | 'commit'>;
  readonly #windowMs: number;
  /** Locked by what the store said, until when by `performance.now()`: guesses at a locked user cost the store nothing. */
  readonly #locked = new Map<string, number>();

  constructor(store: Pick<AuthorityStore, 'read' | 'commit'>, windowMs = WINDOW_MS) {
    this.#store = store;
    this.#windowMs = windowMs;
  }

  /** Milliseconds until the user may try again; 0: now, and the attempt is counted. Rejects with a StoreDownError. */
  async begin(user: string): Promise<number> {
    const key = counterKey(user);
    const lockedMs = (this.#locked.get(key) ?? 0) - performance.now();
    if (lockedMs > 0) return lockedMs;
    this.#locked.delete(key);
    for (let tries = 0; tries < TRIES; tries += 1) {
      const read = await this.#store.read(key, decodeCounter);
      const attempts = read.record?.attempts ?? 0;
      if (attempts >= FAILURES) return this.#lock(key, read.record?.untilMs ?? 0);
      if (await this.#write(read, attempts + 1)) return 0;
    }
    return this.#lock(key, 0);
  }

  /** Takes back what `begin` counted. What cannot be taken back lapses by itself. */
  async succeeded(user: string): Promise<void> {
    try {
      for (let tries = 0; tries < TRIES; tries += 1) {
        const read = await this.#store.read(counterKey(user), decodeCounter);
        if (read.record === undefined || (await this.#write(read, read.record.attempts - 1))) return;
      }
    } catch (error) {
      if (!(error instanceof StoreDownError)) throw error;
    }
  }

  /** For a second at least: the clocks of two replicas say little about each other. */
  #lock(key: string, untilMs: number): number {
    const waitMs = Math.min(this.#windowMs, Math.max(1_000, untilMs - Date.now()));
    // A second is short enough to find out when another replica's window has lapsed.
    this.#locked.set(key, performance.now() + 1_000);
    return waitMs;
  }

  #write(read: Read<Counter>, attempts: number): Promise<boolean> {
    const { key, record, lease } = read;
    return this.#store.commit({ compares: [unchanged(read)], steps: [this.#step(key, record, lease, attempts)] });
  }

  #step(key: string, record: Counter | undefined, lease: bigint, attempts: number): PlanStep {
    if (attempts === 0) return { type: 'delete', key };
    const untilMs = record?.untilMs ?? Date.now() + this.#windowMs;
    const value = JSON.stringify({ attempts, untilMs, nonce: randomBytes(8).toString('base64url') } satisfies Counter);
    if (record === undefined) return { type: 'putFor', key, value, ttlMs: this.#windowMs };
    return { type: 'put', key, value, lease };
  }
}

function counterKey(user: string): string {
  const index = createHash('sha256').update(user).digest().readUInt32BE(0) % COUNTERS;
  return `${GUESSES_PREFIX}${index}`;
}
