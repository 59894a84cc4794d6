import type { channel } from '@xylem/wire';
import type { LifetimeOptions, TlsMaterial, TlsSource } from './api.ts';
import { acceptProof, makeProof } from './channel-proof.ts';
import { LIFETIME, LONGEST_WAIT_MS } from './session-life.ts';
import type { SessionPeer } from './session-peer.ts';

/** Beyond this a server that does not answer is asked again. */
const ANSWER_TIMEOUT_MS = 10_000;
const GREATEST_BACKOFF_MS = 10_000;
/** Waits are shortened by up to this share, so that what began at once does not come back at once. */
const JITTER = 0.2;

export interface RefresherOptions {
  readonly tls: TlsSource;
  /** What the handshake showed to the server. */
  readonly shown: TlsMaterial;
  readonly peer: SessionPeer;
  readonly serverName: string;
  readonly lifetime: LifetimeOptions | undefined;
  /** ChannelService.Refresh on this connection. Rejects within the deadline. */
  readonly ask: (request: channel.RefreshRequest, deadlineMs: number) => Promise<channel.RefreshResponse>;
}

/**
 * Keeps one connection of a client alive over renewals at both of its ends: asks for a refresh when the own credentials
 * have changed, and from half of what is left of the server's certificate on, at half of what is left each time.
 */
export class Refresher {
  readonly #options: RefresherOptions;
  readonly #intervalMs: number;
  readonly #stopListening: () => void;
  #shown: TlsMaterial;
  #failures = 0;
  #problem = '';
  /** When the last refresh was asked for; before that, when the connection was made. */
  #since = performance.now();
  #asked = false;
  #asking = false;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RefresherOptions) {
    this.#options = options;
    this.#shown = options.shown;
    this.#intervalMs = options.lifetime?.refreshIntervalMs ?? LIFETIME.refreshIntervalMs;
    this.#stopListening = options.tls.onChange(() => this.#schedule());
    this.#schedule();
  }

  /** Why the last refresh failed; empty when it did not. */
  get problem(): string {
    return this.#problem;
  }

  stop(): void {
    this.#stopped = true;
    this.#stopListening();
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#asking || this.#stopped) return;
    clearTimeout(this.#timer);
    const waitMs = Math.max(0, this.#since + this.#pauseMs() - performance.now());
    this.#timer = setTimeout(() => void this.#refresh(), Math.min(waitMs, LONGEST_WAIT_MS));
    this.#timer.unref();
  }

  /** Between `since` and the next refresh. */
  #pauseMs(): number {
    const { tls, peer } = this.#options;
    const jitter = 1 - JITTER * Math.random();
    if (this.#shown.cert !== tls.current().cert) {
      if (!this.#asked) return 0;
      return Math.min(this.#intervalMs * 2 ** Math.min(this.#failures, 16), GREATEST_BACKOFF_MS) * jitter;
    }
    const remainingMs = (peer.validUntil ?? Infinity) - this.#since;
    return Math.max(this.#intervalMs, (remainingMs / 2) * jitter);
  }

  async #refresh(): Promise<void> {
    this.#asking = true;
    this.#asked = true;
    this.#since = performance.now();
    const { tls, peer, serverName, ask } = this.#options;
    const material = tls.current();
    try {
      const { server } = await ask({ client: makeProof('client', material, peer) }, ANSWER_TIMEOUT_MS);
      this.#shown = material;
      await acceptProof(server, { role: 'server', peer, verify: tls.verify, serverName });
      this.#failures = 0;
      this.#problem = '';
    } catch (error) {
      // Whatever it was, the connection ends with its certificates unless a later try succeeds.
      this.#failures += 1;
      this.#problem = error instanceof Error ? error.message : String(error);
    } finally {
      this.#asking = false;
      this.#schedule();
    }
  }
}
