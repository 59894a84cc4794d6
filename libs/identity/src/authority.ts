// Side effect, and first: @peculiar/x509 does not load without it.
import 'reflect-metadata';
import { createHash, webcrypto } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BasicConstraintsExtension, PemConverter, Pkcs10CertificateRequest, X509Certificate } from '@peculiar/x509';
import type { PublicKey } from '@peculiar/x509';
import {
  KEY_ALGORITHM,
  exportPrivateKey,
  generateKeyPair,
  makeRootCertificate,
  makeIdentityCertificate,
  validity,
} from './certificate.ts';
import type { Signer } from './certificate.ts';
import { identityUri, isDomain } from './identity.ts';
import type { Identity } from './identity.ts';
import {
  KeyFileError,
  makePrivateDirectory,
  readCertificateFile,
  readKeyFile,
  writeCertificateFile,
  writeKeyFile,
} from './key-file.ts';
import { Secret } from './secret.ts';

const DAY_MS = 24 * 60 * 60_000;
/** Ten years: the root is replaced by rotation, not by expiry. */
const AUTHORITY_TTL_MS = 3_650 * DAY_MS;
const CERTIFICATE_FILE = 'ca.pem';
const KEY_FILE = 'ca.key';

/** A certificate signed for a key that its owner keeps. */
export interface SignedCertificate {
  /** PEM of the certificate, followed by those of intermediates when there are any. */
  readonly cert: string;
  /** PEM of the root certificates that verify it. */
  readonly ca: string;
  /** Milliseconds since 1970. */
  readonly notAfterMs: number;
  /** SHA-256 of the certificate's DER, lower-case hex. */
  readonly fingerprint: string;
}

/** A certificate together with a key made for it. */
export interface IssuedCertificate extends SignedCertificate {
  /** PKCS #8 PEM. */
  readonly key: Secret<string>;
}

/** Signs certificates for one trust domain, with exactly the names of docs/ARCHITECTURE.md. */
export interface Authority {
  readonly domain: string;
  /** PEM of the root certificate that everybody in the domain trusts. */
  readonly ca: string;
  /** Makes a key and a certificate for it. Throws a RangeError for names that are not valid. */
  issue(identity: Identity, ttlMs: number): Promise<IssuedCertificate>;
  /**
   * Signs the key of a PKCS #10 request (PEM). Only the public key is taken from it: names, usages and lifetime come
   * from the arguments. Rejects with a RequestError when it is malformed, not self-signed correctly or not P-256.
   */
  sign(identity: Identity, request: string, ttlMs: number): Promise<SignedCertificate>;
  /** Keeps the authority in a directory: `ca.pem` (0644) and `ca.key` (0600), the directory 0700. */
  save(directory: string): Promise<void>;
}

/** A certificate request that cannot be signed. */
export class RequestError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(`certificate request: ${message}`, options);
    this.name = 'RequestError';
  }
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
  const { domain, now = Date.now, ttlMs = AUTHORITY_TTL_MS } = options;
  if (!isDomain(domain)) throw new RangeError(`domain ${JSON.stringify(domain)} is not a lower-case DNS name`);
  const keys = await generateKeyPair();
  const certificate = await makeRootCertificate(`Xylem root CA of ${domain}`, keys, validity(now(), ttlMs));
  return new CertificateAuthority(domain, now, { certificate, privateKey: keys.privateKey });
}

/**
 * Opens the authority kept in a directory. Rejects with a KeyFileError when a file is missing, unreadable, open to other
 * users, not of this kind, or when key and certificate do not belong together.
 */
export async function openAuthority(directory: string, options: AuthorityOptions): Promise<Authority> {
  const { domain, now = Date.now } = options;
  const certificatePath = join(directory, CERTIFICATE_FILE);
  const keyPath = join(directory, KEY_FILE);
  const certificate = parseAuthorityCertificate(certificatePath, readCertificateFile(certificatePath));
  const privateKey = await importPrivateKey(keyPath, readKeyFile(keyPath));
  await assertPair(certificate, privateKey, keyPath);
  if (certificate.subjectName.getField('CN')[0] !== `Xylem root CA of ${domain}`) {
    throw new KeyFileError(
      certificatePath,
      `belongs to another domain than ${domain} (its subject is ${certificate.subject})`,
    );
  }
  return new CertificateAuthority(domain, now, { certificate, privateKey });
}

/** Whether a directory holds an authority, complete or not. */
export function hasAuthority(directory: string): boolean {
  return existsSync(join(directory, CERTIFICATE_FILE)) || existsSync(join(directory, KEY_FILE));
}

class CertificateAuthority implements Authority {
  readonly domain: string;
  readonly ca: string;
  readonly #now: () => number;
  /** What signs end entities: the root itself. An intermediate would take its place here and join `cert` in #signKey. */
  readonly #issuer: Signer;

  constructor(domain: string, now: () => number, root: Signer) {
    this.domain = domain;
    this.ca = pem(root.certificate);
    this.#now = now;
    this.#issuer = root;
  }

  async issue(identity: Identity, ttlMs: number): Promise<IssuedCertificate> {
    const keys = await generateKeyPair();
    const signed = await this.#signKey(identity, keys.publicKey, ttlMs);
    return { ...signed, key: new Secret(await exportPrivateKey(keys.privateKey)) };
  }

  async sign(identity: Identity, request: string, ttlMs: number): Promise<SignedCertificate> {
    return this.#signKey(identity, await requestedKey(request), ttlMs);
  }

  async save(directory: string): Promise<void> {
    makePrivateDirectory(directory);
    writeKeyFile(join(directory, KEY_FILE), await exportPrivateKey(this.#issuer.privateKey));
    writeCertificateFile(join(directory, CERTIFICATE_FILE), this.ca);
  }

  async #signKey(identity: Identity, publicKey: webcrypto.CryptoKey, ttlMs: number): Promise<SignedCertificate> {
    if (!Number.isSafeInteger(ttlMs) || ttlMs <= 0)
      throw new RangeError(`lifetime ${ttlMs} ms is not a positive integer`);
    identityUri(identity, this.domain);
    const lifetime = validity(this.#now(), ttlMs, this.#issuer.certificate.notAfter);
    const certificate = await makeIdentityCertificate(identity, this.domain, publicKey, lifetime, this.#issuer);
    return {
      cert: pem(certificate),
      ca: this.ca,
      notAfterMs: certificate.notAfter.getTime(),
      fingerprint: createHash('sha256').update(new Uint8Array(certificate.rawData)).digest('hex'),
    };
  }
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}

async function requestedKey(text: string): Promise<webcrypto.CryptoKey> {
  let request: Pkcs10CertificateRequest;
  try {
    request = new Pkcs10CertificateRequest(PemConverter.decodeFirst(text));
  } catch (error) {
    throw new RequestError('is not PKCS #10 in PEM', { cause: error });
  }
  let key: webcrypto.CryptoKey;
  try {
    key = await importPublicKey(request.publicKey);
  } catch (error) {
    throw new RequestError('does not carry an ECDSA P-256 key', { cause: error });
  }
  const proven = await request.verify(webcrypto).catch(() => false);
  if (!proven) throw new RequestError('is not signed by the key it carries');
  return key;
}

/** Rejects unless it is an ECDSA P-256 key. */
function importPublicKey(key: PublicKey): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('spki', key.rawData, KEY_ALGORITHM, true, ['verify']);
}

function parseAuthorityCertificate(path: string, text: string): X509Certificate {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(text);
  } catch (error) {
    throw new KeyFileError(path, 'is not a certificate in PEM', { cause: error });
  }
  if (certificate.getExtension(BasicConstraintsExtension)?.ca !== true) {
    throw new KeyFileError(path, 'is not the certificate of an authority');
  }
  return certificate;
}

async function importPrivateKey(path: string, text: string): Promise<webcrypto.CryptoKey> {
  try {
    return await webcrypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(text), KEY_ALGORITHM, true, ['sign']);
  } catch (error) {
    throw new KeyFileError(path, 'is not an ECDSA P-256 private key in PKCS #8 PEM', { cause: error });
  }
}

async function assertPair(
  certificate: X509Certificate,
  privateKey: webcrypto.CryptoKey,
  keyPath: string,
): Promise<void> {
  const probe = new TextEncoder().encode('xylem');
  const signature = await webcrypto.subtle.sign(KEY_ALGORITHM, privateKey, probe);
  const publicKey = await importPublicKey(certificate.publicKey).catch(() => undefined);
  if (publicKey !== undefined && (await webcrypto.subtle.verify(KEY_ALGORITHM, publicKey, signature, probe))) return;
  throw new KeyFileError(keyPath, `does not belong to ${CERTIFICATE_FILE} beside it`);
}
