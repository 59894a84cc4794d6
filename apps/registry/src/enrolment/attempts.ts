import { addressGroup } from '../authority/addresses.ts';

/** Failed attempts of one address in one window. Ten guesses a minute find no secret of 256 bits. */
const FAILURES = 10;
/** A root proxy relays for many: what fails there is not its own doing. */
const RELAY_FACTOR = 100;
const WINDOW_MS = 60_000;
const MAX_ADDRESSES = 10_000;

interface Window {
  readonly since: number;
  failures: number;
}

/** Counts failed attempts by address, or by whatever else names a source; monotonic milliseconds. */
export class FailedAttempts {
  readonly #isRelay: (address: string) => boolean;
  /** Oldest window first. */
  readonly #windows = new Map<string, Window>();

  constructor(isRelay: (address: string) => boolean) {
    this.#isRelay = isRelay;
  }

  /** Milliseconds until the address may try again; 0: at once. */
  waitMs(address: string, now: number): number {
    const window = this.#windows.get(addressGroup(address));
    if (window === undefined || now >= window.since + WINDOW_MS) return 0;
    const limit = this.#isRelay(address) ? FAILURES * RELAY_FACTOR : FAILURES;
    return window.failures < limit ? 0 : window.since + WINDOW_MS - now;
  }

  failed(address: string, now: number): void {
    this.#forget(now);
    const key = addressGroup(address);
    const window = this.#windows.get(key);
    if (window !== undefined) window.failures += 1;
    // A flood from so many addresses is bounded by the connections there may be; who is counted already stays so.
    else if (this.#windows.size < MAX_ADDRESSES) this.#windows.set(key, { since: now, failures: 1 });
  }

  #forget(now: number): void {
    for (const [key, { since }] of this.#windows) {
      if (now < since + WINDOW_MS) return;
      this.#windows.delete(key);
    }
  }
}
