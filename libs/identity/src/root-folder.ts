import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { certificateFingerprint, requestedKey } from './certificate-key.ts';
import { exportPrivateKey, makeIntermediateCertificate, validity } from './certificate.ts';
import type { Signer } from './certificate.ts';
import { assertPrivateDirectory, makePrivateDirectory, writeCertificateFile, writeKeyFile } from './key-file.ts';
import { pemOfDer } from './pem.ts';
import { makeRoot, readRoot } from './root.ts';

/** A root certificate; the key is with whoever holds it. */
export interface RootCertificate {
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
  readonly pem: string;
  /** Milliseconds since 1970. */
  readonly notAfterMs: number;
}

export interface RootFolderOptions {
  readonly domain: string;
  /** Wall clock in milliseconds since 1970. Default Date.now. */
  readonly now?: () => number;
}

/**
 * The roots whose keys a registry replica holds: one, or two during a rotation, as `<fingerprint>.pem` and
 * `<fingerprint>.key`. They sign the intermediates of replicas and nothing else.
 */
export interface RootFolder {
  /** By fingerprint. */
  list(): readonly RootCertificate[];
  /** Makes a root with a new key and keeps it. */
  create(): Promise<RootCertificate>;
  /** Whether the key of this root is held here. */
  holds(fingerprint: string): boolean;
  /**
   * PEM of an intermediate for the key of a PKCS #10 request. Rejects with a RequestError when the request is none, and
   * with a RangeError for a root that is not held here.
   */
  signIntermediate(fingerprint: string, request: string, ttlMs: number): Promise<string>;
  /** Forgets a root and its key. */
  remove(fingerprint: string): void;
}

const CERTIFICATE = /^([0-9a-f]{64})\.pem$/;

/** Opens the folder, made when missing. Rejects with a KeyFileError when others may look into it or a pair is broken. */
export async function openRootFolder(directory: string, options: RootFolderOptions): Promise<RootFolder> {
  const { domain, now = Date.now } = options;
  if (existsSync(directory)) assertPrivateDirectory(directory);
  else makePrivateDirectory(directory);
  const roots = new Map<string, Signer>();
  for (const file of readdirSync(directory).sort()) {
    const [, fingerprint] = CERTIFICATE.exec(file) ?? [];
    if (fingerprint === undefined) continue;
    const files = { certificate: join(directory, file), key: join(directory, `${fingerprint}.key`) };
    const root = await readRoot(files, domain);
    roots.set(certificateFingerprint(new Uint8Array(root.certificate.rawData)), root);
  }
  return new Folder(directory, domain, now, roots);
}

class Folder implements RootFolder {
  readonly #directory: string;
  readonly #domain: string;
  readonly #now: () => number;
  readonly #roots: Map<string, Signer>;

  constructor(directory: string, domain: string, now: () => number, roots: Map<string, Signer>) {
    this.#directory = directory;
    this.#domain = domain;
    this.#now = now;
    this.#roots = roots;
  }

  list(): readonly RootCertificate[] {
    return [...this.#roots.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, root]) => described(root));
  }

  async create(): Promise<RootCertificate> {
    const root = await makeRoot(this.#domain, this.#now());
    const made = described(root);
    // The key first: a certificate without its key could not be opened again.
    writeKeyFile(this.#path(made.fingerprint, 'key'), await exportPrivateKey(root.privateKey));
    writeCertificateFile(this.#path(made.fingerprint, 'pem'), made.pem);
    this.#roots.set(made.fingerprint, root);
    return made;
  }

  holds(fingerprint: string): boolean {
    return this.#roots.has(fingerprint);
  }

  async signIntermediate(fingerprint: string, request: string, ttlMs: number): Promise<string> {
    const root = this.#roots.get(fingerprint);
    if (root === undefined) throw new RangeError(`the key of root ${fingerprint} is not held here`);
    const key = await requestedKey(request);
    const lifetime = validity(this.#now(), ttlMs, root.certificate.notAfter);
    const subject = `Xylem intermediate CA of ${this.#domain}`;
    const certificate = await makeIntermediateCertificate(subject, key, lifetime, root);
    return pemOfDer(new Uint8Array(certificate.rawData));
  }

  remove(fingerprint: string): void {
    this.#roots.delete(fingerprint);
    // The certificate first, for the same reason as in `create`.
    rmSync(this.#path(fingerprint, 'pem'), { force: true });
    rmSync(this.#path(fingerprint, 'key'), { force: true });
  }

  #path(fingerprint: string, suffix: 'pem' | 'key'): string {
    return join(this.#directory, `${fingerprint}.${suffix}`);
  }
}

function described({ certificate }: Signer): RootCertificate {
  const der = new Uint8Array(certificate.rawData);
  return { fingerprint: certificateFingerprint(der), pem: pemOfDer(der), notAfterMs: certificate.notAfter.getTime() };
}
