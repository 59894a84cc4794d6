import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import type { PasswordHash } from './user-record.ts';

/** Cost of one hash. OWASP's values for 32 MiB of memory: about a quarter of a second on one core. */
const PASSWORD_COST = { N: 2 ** 15, r: 8, p: 3 } as const;

export type PasswordCost = Pick<PasswordHash, 'N' | 'r' | 'p'>;

/** More hashes are asked for than can be made in time. */
export class PasswordsBusyError extends Error {
  constructor() {
    super('too many passwords are being checked');
    this.name = 'PasswordsBusyError';
  }
}

const SALT_BYTES = 16;
const HASH_BYTES = 32;
/** Of libuv's four threads two stay free for files and names; 64 MiB in all. */
const AT_ONCE = 2;
/** At a quarter of a second each, the last one waits four seconds: shorter than whoever asked. */
const MAX_WAITING = 32;
/** 128 * N * r bytes and what OpenSSL adds; a record that asks for more is not believed. */
const MAX_MEMORY_BYTES = 192 * 1024 * 1024;

/** Hashes passwords with scrypt outside the event loop, a bounded number at a time. */
export class Passwords {
  readonly #cost: PasswordCost;
  readonly #waiting: (() => void)[] = [];
  /** Compared with where there is no password, so that an unknown user takes as long as a known one. */
  readonly #nobody: PasswordHash;
  #running = 0;

  constructor(cost: PasswordCost = PASSWORD_COST) {
    this.#cost = cost;
    const random = (bytes: number): string => randomBytes(bytes).toString('base64');
    this.#nobody = { ...cost, salt: random(SALT_BYTES), hash: random(HASH_BYTES) };
  }

  /** Rejects with a PasswordsBusyError when too many wait. */
  async hash(password: string): Promise<PasswordHash> {
    const salt = randomBytes(SALT_BYTES);
    const hash = await this.#derive(password, salt, this.#cost);
    return { ...this.#cost, salt: salt.toString('base64'), hash: hash.toString('base64') };
  }

  /** Whether this is the password; takes the same time when there is none. Rejects as `hash`. */
  async matches(password: string, kept: PasswordHash | undefined): Promise<boolean> {
    const against = kept ?? this.#nobody;
    const expected = Buffer.from(against.hash, 'base64');
    const derived = await this.#derive(password, Buffer.from(against.salt, 'base64'), against);
    return (
      timingSafeEqual(derived, expected.length === HASH_BYTES ? expected : randomBytes(HASH_BYTES)) &&
      kept !== undefined
    );
  }

  async #derive(password: string, salt: Buffer, { N, r, p }: PasswordCost): Promise<Buffer> {
    await this.#enter();
    try {
      const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
      // One spelling of a password, whatever keyboard it came from.
      const text = Buffer.from(password.normalize('NFC'), 'utf8');
      scrypt(text, salt, HASH_BYTES, { N, r, p, maxmem: MAX_MEMORY_BYTES }, (error, key) => {
        if (error === null) resolve(key);
        else reject(error);
      });
      return await promise;
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #enter(): Promise<void> {
    if (this.#running >= AT_ONCE) {
      if (this.#waiting.length >= MAX_WAITING) throw new PasswordsBusyError();
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running += 1;
  }
}
