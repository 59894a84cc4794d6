import type { AuditLog } from '@xylem/audit';
import { TRUST_KEY, decodeTrust } from '@xylem/authority';
import type { TrustRecord } from '@xylem/authority';
import type { TlsMaterial, TlsSource } from '@xylem/identity';
import { awaitTrust, preparePrivate } from './bootstrap.ts';
import { Enrolments } from './enrolments.ts';
import { Intermediates } from './intermediates.ts';
import { Keyring } from './keyring.ts';
import { OwnIdentity } from './own-identity.ts';
import { Remembered } from './remembered.ts';
import { forgetLongGone } from './sweep.ts';
import { Tokens } from './tokens.ts';
import type { AuthorityStore } from './store.ts';

export interface PlaneOptions {
  readonly domain: string;
  readonly registry: string;
  /** `authority.dir` */
  readonly directory: string;
  readonly adminDirectory: string;
  readonly certificateTtlMs: number;
  readonly userTtlMs: number;
  readonly store: AuthorityStore;
  readonly audit: AuditLog;
  /** How this replica gets intermediates; undefined: it holds the root. */
  readonly holder: RootHolder | undefined;
  readonly onNews: (news: PlaneNews) => void;
}

/** Somebody who holds the root. */
export interface RootHolder {
  /** The identity to ask with for the first intermediate; joins where that is due. */
  readonly join: () => Promise<TlsMaterial>;
  /** PKCS #10 in, PEM of the intermediate out. */
  readonly ask: (request: string, material: TlsMaterial) => Promise<string>;
}

/** What is worth a log line; `detail` is one line without secrets. */
export type PlaneNews =
  | { readonly kind: 'store-awaited'; readonly detail: string }
  | { readonly kind: 'renewed'; readonly notAfterMs: number }
  | { readonly kind: 'trust-changed'; readonly phase: string; readonly generation: number }
  | { readonly kind: 'cloned'; readonly identity: string; readonly address: string }
  /** The store was older than what this replica remembers of this record. */
  | { readonly kind: 'put-back'; readonly key: string }
  | { readonly kind: 'tending-failed'; readonly detail: string };

const TEND_MAX_MS = 60_000;
const TEND_RETRY_MS = 5_000;
const SWEEP_INTERVAL_MS = 6 * 60 * 60_000;

/** The certificate authority of one registry replica: keys, own certificates, and what they give out. */
export class AuthorityPlane {
  readonly store: AuthorityStore;
  readonly keyring: Keyring;
  readonly enrolments: Enrolments;
  readonly tokens: Tokens;
  readonly intermediates: Intermediates;
  readonly #options: PlaneOptions;
  readonly #remembered: Remembered;
  readonly #own: OwnIdentity;
  readonly #listeners = new Set<() => void>();
  #enrolPort = 0;
  #timer: NodeJS.Timeout | undefined;
  #tending: Promise<void> = Promise.resolve();
  #trustText = '';
  #sweepAt = 0;
  #closed = false;

  private constructor(options: PlaneOptions, remembered: Remembered, keyring: Keyring, own: OwnIdentity) {
    const { domain, audit, certificateTtlMs, userTtlMs } = options;
    const store = remembered.guarded();
    this.#options = options;
    this.#remembered = remembered;
    this.store = store;
    this.keyring = keyring;
    this.#own = own;
    const now = (): number => Date.now();
    this.enrolments = new Enrolments({
      domain,
      store,
      keyring,
      audit,
      certificateTtlMs,
      userTtlMs,
      now,
      onClone: (identity, address) => options.onNews({ kind: 'cloned', identity, address }),
    });
    this.tokens = new Tokens({ store, keyring, audit, now });
    this.intermediates = new Intermediates({ domain, store, keyring, audit, now });
  }

  /**
   * Opens the authority, making it when the store knows none. Rejects with an OperatingError when this replica has to join first, or the
   * store does not answer for a minute; with a KeyFileError when the folder cannot be used.
   */
  static async open(options: PlaneOptions): Promise<AuthorityPlane> {
    const { directory, domain, registry, adminDirectory, holder, certificateTtlMs, userTtlMs, onNews } = options;
    preparePrivate(directory);
    const remembered = remember(options);
    const bootstrap = { directory, domain, joins: holder !== undefined };
    const trust = await awaitTrust(options.store, remembered, bootstrap, (detail) =>
      onNews({ kind: 'store-awaited', detail }),
    );
    // Before there is a first intermediate, the identity that joined asks for it.
    const asking: { own: OwnIdentity | undefined } = { own: undefined };
    const askHolder = async (request: string, given: RootHolder): Promise<string> =>
      given.ask(request, asking.own?.tls.current() ?? (await given.join()));
    const keyring = await Keyring.open({
      directory,
      domain,
      trust,
      askHolder: holder === undefined ? undefined : (request) => askHolder(request, holder),
    });
    const lifetimes = { certificateTtlMs, userTtlMs };
    const own = await OwnIdentity.open({
      domain,
      registry,
      adminDirectory,
      keyring,
      ...lifetimes,
      now: () => Date.now(),
    });
    asking.own = own;
    return new AuthorityPlane(options, remembered, keyring, own);
  }

  /** Own certificates, renewed before they end. */
  get tls(): TlsSource {
    return this.#own.tls;
  }

  /** What the enrolment listener shows: the root is in it, so that somebody who knows only its pin can find it there. */
  get enrolTls(): { readonly ca: string; readonly cert: string; readonly key: string } {
    const { ca, cert, key } = this.#own.tls.current();
    return { ca, cert: `${cert}${this.keyring.rootPem}`, key };
  }

  get notAfterMs(): number {
    return this.#own.notAfterMs;
  }

  /** Where enrolment listens; 0 before it does. */
  get enrolPort(): number {
    return this.#enrolPort;
  }

  /** Begins to follow the store's mirror and to renew. Resolves when the administrator's credentials are there. */
  async start(enrolPort: number): Promise<void> {
    this.#enrolPort = enrolPort;
    this.store.mirror.onChange(() => this.#storeChanged());
    this.#storeChanged();
    await this.#own.start(enrolPort);
    this.#tend(false);
  }

  /** Called after the own certificates or what is trusted have changed; returns the way to stop. */
  onChange(listener: () => void): () => void {
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  /** Closes the records with it. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#remembered.close();
    // What is under way would wait for a store that may be gone, too.
    this.store.close();
    await this.#tending;
  }

  #storeChanged(): void {
    const text = this.store.mirror.get(TRUST_KEY);
    if (text === undefined || text === this.#trustText) return;
    const trust = decodeTrust(text);
    if (trust === undefined) return;
    this.#trustText = text;
    const before = this.keyring.trust;
    // A restored store; what was there before is about to be put back.
    if (trust.generation < before.generation) return;
    const changed = before.generation !== trust.generation || before.phase !== trust.phase;
    this.#forgetRetired(before, trust);
    this.keyring.follow(trust);
    if (!changed) return;
    this.#options.onNews({ kind: 'trust-changed', phase: trust.phase, generation: trust.generation });
    this.#tend(before.generation !== trust.generation);
  }

  /** The key of a root that a rotation has left behind, or taken back, is of no use to anybody but a thief. */
  #forgetRetired(before: TrustRecord, after: TrustRecord): void {
    if (after.phase !== 'steady' || before.phase === 'steady') return;
    for (const { fingerprint } of before.roots) {
      if (!after.roots.some((root) => root.fingerprint === fingerprint)) this.keyring.roots.remove(fingerprint);
    }
  }

  /** One after the other; `changed`: whatever was issued is issued anew. */
  #tend(changed: boolean): void {
    clearTimeout(this.#timer);
    this.#tending = this.#tending.then(() => this.#tendNow(changed));
  }

  async #tendNow(changed: boolean): Promise<void> {
    if (this.#closed) return;
    let nextMs = Math.min(TEND_MAX_MS, Math.ceil(this.#options.certificateTtlMs / 8));
    let renew = changed;
    try {
      const before = this.#own.notAfterMs;
      // What is trusted has to be learnt even when nobody gives a new intermediate.
      const replaced = await this.keyring.tend(Date.now()).catch((error: unknown) => {
        nextMs = Math.min(nextMs, TEND_RETRY_MS);
        this.#failed(error);
        return false;
      });
      renew ||= replaced;
      await this.#own.tend(renew);
      if (this.#own.notAfterMs !== before || renew) {
        this.#options.onNews({ kind: 'renewed', notAfterMs: this.#own.notAfterMs });
        for (const listener of [...this.#listeners]) listener();
      }
      await this.#own.record(this.store);
      await this.intermediates.record();
      await this.#sweep();
    } catch (error) {
      nextMs = Math.min(nextMs, TEND_RETRY_MS);
      this.#failed(error);
    }
    if (!this.#closed) this.#timer = setTimeout(() => this.#tend(false), nextMs);
  }

  async #sweep(): Promise<void> {
    const now = performance.now();
    if (now < this.#sweepAt) return;
    await forgetLongGone(this.store, Date.now());
    this.#sweepAt = now + SWEEP_INTERVAL_MS;
  }

  #failed(error: unknown): void {
    const detail = error instanceof Error ? error.message : String(error);
    if (!this.#closed) this.#options.onNews({ kind: 'tending-failed', detail });
  }
}

function remember({ directory, certificateTtlMs, userTtlMs, audit, store, onNews }: PlaneOptions): Remembered {
  const longestTtlMs = Math.max(certificateTtlMs, userTtlMs);
  const hooks = {
    onPutBack: (key: string) => onNews({ kind: 'put-back', key }),
    onFailure: (detail: string) => onNews({ kind: 'tending-failed', detail }),
  };
  return Remembered.open({ directory, longestTtlMs, audit, now: () => Date.now(), ...hooks }, store);
}
