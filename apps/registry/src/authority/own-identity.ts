import { join } from 'node:path';
import { decodeIdentity, encodeRecord, identityKey, unchanged } from '@xylem/authority';
import type { IdentityRecord } from '@xylem/authority';
import { installIdentity, memoryTlsSource } from '@xylem/identity';
import type { Identity, IssuedCertificate, TlsSource } from '@xylem/identity';
import type { Keyring } from './keyring.ts';
import type { AuthorityStore } from './store.ts';

/** Users with this prefix are the registries' own administrators. */
export const ADMIN_PREFIX = 'admin@';

/** The wall clock is corrected by small steps all the time. */
const CLOCK_STEP_MS = 1_000;

export interface OwnIdentityOptions {
  readonly domain: string;
  readonly registry: string;
  /** Folder of the administrator's credentials. */
  readonly adminDirectory: string;
  readonly keyring: Keyring;
  readonly certificateTtlMs: number;
  readonly userTtlMs: number;
  /** Wall clock. */
  readonly now: () => number;
}

/**
 * The certificates that a replica gives itself: its own, kept in memory, and its administrator's, kept in a folder that only its system
 * user can read. Both with a new key each time.
 */
export class OwnIdentity {
  readonly tls: TlsSource;
  readonly #options: OwnIdentityOptions;
  readonly #source: ReturnType<typeof memoryTlsSource>;
  #own: IssuedCertificate;
  #admin: IssuedCertificate | undefined;
  #recorded = false;
  #enrolPort = 1;

  private constructor(options: OwnIdentityOptions, own: IssuedCertificate) {
    this.#options = options;
    this.#own = own;
    this.#source = memoryTlsSource(materialOf(own));
    this.tls = this.#source;
  }

  static async open(options: OwnIdentityOptions): Promise<OwnIdentity> {
    return new OwnIdentity(options, await issueOwn(options));
  }

  get notAfterMs(): number {
    return this.#own.notAfterMs;
  }

  /** Writes the administrator's credentials; `enrolPort`: where they say that enrolment is. */
  async start(enrolPort: number): Promise<void> {
    this.#enrolPort = enrolPort;
    await this.#renewAdmin();
  }

  /** Renews what is past half its life, or all of it when what is trusted or signs has changed. */
  async tend(changed: boolean): Promise<void> {
    const now = this.#options.now();
    if (changed || isDue(this.#own, now)) {
      this.#own = await issueOwn(this.#options);
      this.#recorded = false;
      this.#source.replace(materialOf(this.#own));
    }
    if (changed || this.#admin === undefined || isDue(this.#admin, now)) await this.#renewAdmin();
  }

  /**
   * Writes down the own certificate, so that a rotation knows about this replica. Its generation says nothing about copied keys: whoever has
   * an intermediate's key needs no copies. Rejects with a StoreDownError; the next call tries again.
   */
  async record(store: AuthorityStore): Promise<void> {
    const { registry, keyring } = this.#options;
    const own = this.#own;
    const name = `registry/${registry}`;
    if (this.#recorded && isRecorded(store, name, own)) return;
    const read = await store.read(identityKey(name), decodeIdentity);
    if (read.record?.lock !== undefined) return;
    const { keyFingerprint: key, issuedAtMs, notAfterMs, root } = own;
    const record: IdentityRecord = {
      identity: name,
      generation: (read.record?.generation ?? 0) + 1,
      key,
      previousKey: read.record?.key ?? '',
      issuedAtMs,
      notAfterMs,
      root,
      trust: keyring.trust.generation,
      lock: undefined,
    };
    const put = { type: 'put' as const, key: read.key, value: encodeRecord(record), lease: 0n };
    this.#recorded = (await store.commit({ compares: [unchanged(read)], steps: [put] })) && own === this.#own;
  }

  async #renewAdmin(): Promise<void> {
    const { domain, registry, keyring, userTtlMs, adminDirectory } = this.#options;
    const identity: Identity = { kind: 'user', user: `${ADMIN_PREFIX}${registry}` };
    const issued = await keyring.issuer.issue(identity, userTtlMs);
    installIdentity(adminDirectory, {
      facts: {
        identity: `user/${identity.user}`,
        domain,
        generation: 0,
        issuedAtMs: issued.issuedAtMs,
        notAfterMs: issued.notAfterMs,
        trustGeneration: keyring.trust.generation,
        enrol: [{ host: '127.0.0.1', port: this.#enrolPort }],
      },
      material: materialOf(issued),
    });
    this.#admin = issued;
  }
}

/** False again when a store was restored from a backup that is older. */
function isRecorded({ mirror }: AuthorityStore, name: string, { keyFingerprint }: IssuedCertificate): boolean {
  const text = mirror.get(identityKey(name));
  return mirror.revision === 0n || (text !== undefined && decodeIdentity(text)?.key === keyFingerprint);
}

async function issueOwn({ keyring, registry, certificateTtlMs }: OwnIdentityOptions): Promise<IssuedCertificate> {
  return keyring.issuer.issue({ kind: 'registry', registry }, certificateTtlMs);
}

/** Past half its life; or from ahead of a clock that was set back since: nobody else takes that for valid yet. */
function isDue({ issuedAtMs, notAfterMs }: IssuedCertificate, now: number): boolean {
  return now >= (issuedAtMs + notAfterMs) / 2 || now < issuedAtMs - CLOCK_STEP_MS;
}

function materialOf({ ca, cert, key }: IssuedCertificate): ReturnType<TlsSource['current']> {
  return { ca, cert, key: key.reveal() };
}

export function adminDirectoryOf(dataDir: string): string {
  return join(dataDir, 'admin');
}
