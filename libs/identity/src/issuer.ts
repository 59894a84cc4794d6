import type { webcrypto } from 'node:crypto';
import type { X509Certificate } from '@peculiar/x509';
import { certificateFingerprint, keyFingerprint, requestedKey } from './certificate-key.ts';
import { exportPrivateKey, generateKeyPair, makeIdentityCertificate, validity } from './certificate.ts';
import type { Signer } from './certificate.ts';
import { identityUri } from './identity.ts';
import type { Identity } from './identity.ts';
import { pemOfDer } from './pem.ts';
import { Secret } from './secret.ts';

/** A certificate signed for a key that its owner keeps. */
export interface SignedCertificate {
  /** PEM of the certificate, followed by those of intermediates when there are any. */
  readonly cert: string;
  /** PEM of the root certificates that verify it. */
  readonly ca: string;
  /** The moment of signing; the certificate's validity starts some minutes earlier. Milliseconds since 1970. */
  readonly issuedAtMs: number;
  /** Milliseconds since 1970. */
  readonly notAfterMs: number;
  /** SHA-256 of the certificate's DER, lower-case hex. */
  readonly fingerprint: string;
  /** SHA-256 of its key's SubjectPublicKeyInfo, lower-case hex. */
  readonly keyFingerprint: string;
  /** SHA-256 of the DER of the root that it leads to, lower-case hex. */
  readonly root: string;
}

/** A certificate together with a key made for it. */
export interface IssuedCertificate extends SignedCertificate {
  /** PKCS #8 PEM. */
  readonly key: Secret<string>;
}

/** Signs certificates for one trust domain, with exactly the names of docs/ARCHITECTURE.md. */
export interface CertificateIssuer {
  readonly domain: string;
  /** PEM of every root certificate that is trusted in the domain now. */
  readonly ca: string;
  /** Makes a key and a certificate for it. Throws a RangeError for names that are not valid. */
  issue(identity: Identity, ttlMs: number): Promise<IssuedCertificate>;
  /**
   * Signs the key of a PKCS #10 request (PEM). Only the public key is taken from it: names, usages and lifetime come
   * from the arguments. Rejects with a RequestError when it is malformed, not self-signed correctly or not P-256.
   */
  sign(identity: Identity, request: string, ttlMs: number): Promise<SignedCertificate>;
}

export interface IssuerParts {
  readonly domain: string;
  /** Wall clock in milliseconds since 1970. */
  readonly now: () => number;
  /** What signs, and the certificates between it and the root, its own first; empty when it is the root. */
  readonly signer: Signer;
  readonly chain: readonly X509Certificate[];
  /** Fingerprint of the root. */
  readonly root: string;
  readonly trust: () => string;
}

export function makeIssuer(parts: IssuerParts): CertificateIssuer {
  return new Issuer(parts);
}

class Issuer implements CertificateIssuer {
  readonly domain: string;
  readonly #parts: IssuerParts;

  constructor(parts: IssuerParts) {
    this.domain = parts.domain;
    this.#parts = parts;
  }

  get ca(): string {
    return this.#parts.trust();
  }

  async issue(identity: Identity, ttlMs: number): Promise<IssuedCertificate> {
    const keys = await generateKeyPair();
    const signed = await this.#signKey(identity, keys.publicKey, ttlMs);
    return { ...signed, key: new Secret(await exportPrivateKey(keys.privateKey)) };
  }

  async sign(identity: Identity, request: string, ttlMs: number): Promise<SignedCertificate> {
    return this.#signKey(identity, await requestedKey(request), ttlMs);
  }

  async #signKey(identity: Identity, publicKey: webcrypto.CryptoKey, ttlMs: number): Promise<SignedCertificate> {
    if (!Number.isSafeInteger(ttlMs) || ttlMs <= 0)
      throw new RangeError(`lifetime ${ttlMs} ms is not a positive integer`);
    identityUri(identity, this.domain);
    const { now, signer, chain, root } = this.#parts;
    const issuedAtMs = now();
    const lifetime = validity(issuedAtMs, ttlMs, signer.certificate.notAfter);
    const certificate = await makeIdentityCertificate(identity, this.domain, publicKey, lifetime, signer);
    const der = new Uint8Array(certificate.rawData);
    return {
      cert: pemOfDer(der, ...chain.map(({ rawData }) => new Uint8Array(rawData))),
      ca: this.ca,
      issuedAtMs,
      notAfterMs: certificate.notAfter.getTime(),
      fingerprint: certificateFingerprint(der),
      keyFingerprint: keyFingerprint(new Uint8Array(certificate.publicKey.rawData)),
      root,
    };
  }
}
