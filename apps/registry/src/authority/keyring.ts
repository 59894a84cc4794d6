import { join } from 'node:path';
import { activeRoot, trustPem } from '@xylem/authority';
import type { TrustRecord } from '@xylem/authority';
import {
  hasIntermediate,
  openIntermediateIssuer,
  openRootFolder,
  readIntermediate,
  renewIntermediate,
} from '@xylem/identity';
import type { CertificateIssuer, Intermediate, RootFolder } from '@xylem/identity';

const DAY_MS = 24 * 60 * 60_000;
/** A replica that cannot reach a holder of the root for two weeks is no replica any more. */
export const INTERMEDIATE_TTL_MS = 30 * DAY_MS;
const INTERMEDIATE_FILE = 'intermediate.pem';
const ROOTS_FOLDER = 'roots';

/** Asks a replica that holds the root for an intermediate: PKCS #10 in, PEM of the certificate out. */
export type AskHolder = (request: string) => Promise<string>;

/**
 * What one replica signs with: its intermediate, and the roots whose keys it holds, if any. Follows the trust of the domain: when another
 * root becomes the active one, the intermediate is replaced by one under that root.
 */
export class Keyring {
  readonly roots: RootFolder;
  readonly #directory: string;
  readonly #domain: string;
  readonly #askHolder: AskHolder | undefined;
  #trust: TrustRecord;
  #intermediate: Intermediate;
  #issuer: CertificateIssuer | undefined;

  private constructor(roots: RootFolder, options: KeyringOptions, intermediate: Intermediate) {
    this.roots = roots;
    this.#directory = options.directory;
    this.#domain = options.domain;
    this.#askHolder = options.askHolder;
    this.#trust = options.trust;
    this.#intermediate = intermediate;
  }

  /** Rejects with a KeyFileError when what the directory holds cannot be used. */
  static async open(options: KeyringOptions): Promise<Keyring> {
    const { directory, domain, trust, askHolder } = options;
    const roots = await openRootFolder(join(directory, ROOTS_FOLDER), { domain });
    forgetRetired(roots, trust);
    const path = join(directory, INTERMEDIATE_FILE);
    const kept = hasIntermediate(path) ? readUsable(path, trust) : undefined;
    const intermediate = kept ?? (await newIntermediate(path, trust, roots, askHolder));
    const keyring = new Keyring(roots, options, intermediate);
    await keyring.#use(intermediate);
    return keyring;
  }

  /** Signs end entities. Its `ca` is what the domain trusts now. */
  get issuer(): CertificateIssuer {
    if (this.#issuer === undefined) throw new Error('bug in registry: a keyring that was not opened');
    return this.#issuer;
  }

  get trust(): TrustRecord {
    return this.#trust;
  }

  /** PEM of the root that certificates signed here lead to. */
  get rootPem(): string {
    const root = this.#trust.roots.find(({ fingerprint }) => fingerprint === this.#intermediate.root);
    return root?.pem ?? '';
  }

  /** What is shown of the intermediate in use. */
  get intermediate(): Pick<Intermediate, 'cert' | 'notAfterMs'> {
    return this.#intermediate;
  }

  /** What is trusted now. The next `tend` does what follows from it. */
  follow(trust: TrustRecord): void {
    this.#trust = trust;
  }

  /**
   * Replaces the intermediate when it is past half its life or not under the active root. True when what is signed from
   * now on differs. Rejects when nobody gives a new one; the old one stays in use.
   */
  async tend(nowMs: number): Promise<boolean> {
    const { root, notBeforeMs, notAfterMs } = this.#intermediate;
    // Or made while the clock was ahead: nobody else takes it for valid yet.
    const isDue = nowMs > (notBeforeMs + notAfterMs) / 2 || nowMs < notBeforeMs;
    if (root === activeRoot(this.#trust).fingerprint && !isDue) return false;
    const path = join(this.#directory, INTERMEDIATE_FILE);
    const made = await newIntermediate(path, this.#trust, this.roots, this.#askHolder);
    await this.#use(made);
    if (made.root !== activeRoot(this.#trust).fingerprint) {
      throw new Error('the registry that was asked does not sign with the active root yet');
    }
    return true;
  }

  async #use(intermediate: Intermediate): Promise<void> {
    const trust = (): string => trustPem(this.#trust);
    this.#issuer = await openIntermediateIssuer({ domain: this.#domain, intermediate, trust });
    this.#intermediate = intermediate;
  }
}

export interface KeyringOptions {
  readonly directory: string;
  readonly domain: string;
  readonly trust: TrustRecord;
  /** undefined: this replica did not join, it holds the root. */
  readonly askHolder: AskHolder | undefined;
}

/**
 * A rotation that ended while this replica was down, or a step that was never made, left a key behind: of no use but to a thief. Only who
 * holds the root in force may judge so.
 */
function forgetRetired(roots: RootFolder, trust: TrustRecord): void {
  if (trust.phase !== 'steady' || !roots.holds(activeRoot(trust).fingerprint)) return;
  for (const { fingerprint } of roots.list()) {
    if (fingerprint !== activeRoot(trust).fingerprint) roots.remove(fingerprint);
  }
}

/** One that has ended, or is under a root that is not trusted any more, is replaced; a file that is broken or open to others is not. */
function readUsable(path: string, trust: TrustRecord): Intermediate | undefined {
  const kept = readIntermediate(path, trustPem(trust));
  return kept !== undefined && kept.notAfterMs > Date.now() ? kept : undefined;
}

async function newIntermediate(
  path: string,
  trust: TrustRecord,
  roots: RootFolder,
  askHolder: AskHolder | undefined,
): Promise<Intermediate> {
  const { fingerprint } = activeRoot(trust);
  return renewIntermediate(path, trustPem(trust), (request) => {
    if (roots.holds(fingerprint)) return roots.signIntermediate(fingerprint, request, INTERMEDIATE_TTL_MS);
    if (askHolder === undefined) throw new Error(`no key of the root ${fingerprint.slice(0, 8)} and nobody to ask`);
    return askHolder(request);
  });
}
