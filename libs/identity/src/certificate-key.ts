// Side effect, and first: @peculiar/x509 does not load without it.
import 'reflect-metadata';
import { createHash, webcrypto } from 'node:crypto';
import { PemConverter, Pkcs10CertificateRequest } from '@peculiar/x509';
import type { PublicKey, X509Certificate } from '@peculiar/x509';
import { KEY_ALGORITHM } from './certificate.ts';
import { KeyFileError } from './key-file.ts';

/** A certificate request that cannot be signed. */
export class RequestError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(`certificate request: ${message}`, options);
    this.name = 'RequestError';
  }
}

/**
 * The key of a PKCS #10 request (PEM). Rejects with a RequestError when it is malformed, not signed by its own key, or
 * that is not ECDSA P-256.
 */
export async function requestedKey(text: string): Promise<webcrypto.CryptoKey> {
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

/** SHA-256 of the key of a request, as `keyFingerprint` gives it. Rejects as `requestedKey`. */
export async function requestedKeyFingerprint(request: string): Promise<string> {
  const key = await requestedKey(request);
  return keyFingerprint(new Uint8Array(await webcrypto.subtle.exportKey('spki', key)));
}

/** SHA-256 of a public key's SubjectPublicKeyInfo (DER), lower-case hex. */
export function keyFingerprint(spki: Uint8Array): string {
  return createHash('sha256').update(spki).digest('hex');
}

/** SHA-256 of a certificate's DER, lower-case hex. */
export function certificateFingerprint(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('hex');
}

/** Rejects with a KeyFileError that names `path` unless the text is a P-256 key in PKCS #8 PEM. */
export async function importPrivateKey(path: string, text: string): Promise<webcrypto.CryptoKey> {
  try {
    return await webcrypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(text), KEY_ALGORITHM, true, ['sign']);
  } catch (error) {
    throw new KeyFileError(path, 'is not an ECDSA P-256 private key in PKCS #8 PEM', { cause: error });
  }
}

/** Whether the key is the certificate's. */
export async function isPair(certificate: X509Certificate, privateKey: webcrypto.CryptoKey): Promise<boolean> {
  const probe = new TextEncoder().encode('xylem');
  const signature = await webcrypto.subtle.sign(KEY_ALGORITHM, privateKey, probe);
  const publicKey = await importPublicKey(certificate.publicKey).catch(() => undefined);
  return publicKey !== undefined && webcrypto.subtle.verify(KEY_ALGORITHM, publicKey, signature, probe);
}

/** Rejects unless it is an ECDSA P-256 key. */
function importPublicKey(key: PublicKey): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('spki', key.rawData, KEY_ALGORITHM, true, ['verify']);
}
