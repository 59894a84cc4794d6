import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { certificateFingerprint } from './certificate-key.ts';
import { exportPrivateKey } from './certificate.ts';
import type { Signer } from './certificate.ts';
import { makeIssuer } from './issuer.ts';
import type { CertificateIssuer, IssuedCertificate, SignedCertificate } from './issuer.ts';
import { makePrivateDirectory, writeCertificateFile, writeKeyFile } from './key-file.ts';
import { pemOfDer } from './pem.ts';
import type { Identity } from './identity.ts';
import { makeRoot, readRoot } from './root.ts';

const CERTIFICATE_FILE = 'ca.pem';
const KEY_FILE = 'ca.key';

/** One root that signs by itself: certificates by hand (`xylem pki`), and tests. */
export interface Authority extends CertificateIssuer {
  /** Keeps the authority in a directory: `ca.pem` (0644) and `ca.key` (0600), the directory 0700. */
  save(directory: string): Promise<void>;
}

export interface AuthorityOptions {
  readonly domain: string;
  /** Wall clock in milliseconds since 1970. Default Date.now. */
  readonly now?: () => number;
  /** Lifetime of the authority's own certificate. Default ten years. */
  readonly ttlMs?: number;
}

/** Makes a new authority with a new key. Nothing is written until `save`. */
export async function createAuthority(options: AuthorityOptions): Promise<Authority> {
  const { domain, now = Date.now, ttlMs } = options;
  return new RootAuthority(domain, now, await makeRoot(domain, now(), ttlMs));
}

/**
 * Opens the authority kept in a directory. Rejects with a KeyFileError when a file is missing, unreadable, open to other
 * users, not of this kind, or when key and certificate do not belong together.
 */
export async function openAuthority(directory: string, options: AuthorityOptions): Promise<Authority> {
  const { domain, now = Date.now } = options;
  const files = { certificate: join(directory, CERTIFICATE_FILE), key: join(directory, KEY_FILE) };
  return new RootAuthority(domain, now, await readRoot(files, domain));
}

/** Whether a directory holds an authority, complete or not. */
export function hasAuthority(directory: string): boolean {
  return existsSync(join(directory, CERTIFICATE_FILE)) || existsSync(join(directory, KEY_FILE));
}

class RootAuthority implements Authority {
  readonly domain: string;
  readonly ca: string;
  readonly #root: Signer;
  readonly #issuer: CertificateIssuer;

  constructor(domain: string, now: () => number, root: Signer) {
    const der = new Uint8Array(root.certificate.rawData);
    this.domain = domain;
    this.ca = pemOfDer(der);
    this.#root = root;
    const fingerprint = certificateFingerprint(der);
    this.#issuer = makeIssuer({ domain, now, signer: root, chain: [], root: fingerprint, trust: () => this.ca });
  }

  issue(identity: Identity, ttlMs: number): Promise<IssuedCertificate> {
    return this.#issuer.issue(identity, ttlMs);
  }

  sign(identity: Identity, request: string, ttlMs: number): Promise<SignedCertificate> {
    return this.#issuer.sign(identity, request, ttlMs);
  }

  async save(directory: string): Promise<void> {
    makePrivateDirectory(directory);
    writeKeyFile(join(directory, KEY_FILE), await exportPrivateKey(this.#root.privateKey));
    writeCertificateFile(join(directory, CERTIFICATE_FILE), this.ca);
  }
}
