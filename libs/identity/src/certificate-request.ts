// Side effect, and first: @peculiar/x509 does not load without it.
import 'reflect-metadata';
import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { webcrypto } from 'node:crypto';
import { PemConverter, Pkcs10CertificateRequestGenerator } from '@peculiar/x509';
import { KEY_ALGORITHM, exportPrivateKey, generateKeyPair } from './certificate.ts';
import { Secret } from './secret.ts';

/** A key, and the proof of its possession that a registry signs a certificate for. */
export interface KeyWithRequest {
  /** PKCS #8 PEM. */
  readonly key: Secret<string>;
  /** PKCS #10 PEM. It names nobody: who the certificate is for comes from the token or the certificate shown. */
  readonly request: string;
}

/** A new P-256 key. */
export async function makePrivateKey(): Promise<Secret<string>> {
  return new Secret(await exportPrivateKey((await generateKeyPair()).privateKey));
}

/** The request for a key. Rejects when the text is no P-256 key in PKCS #8 PEM. */
export async function requestFor(key: Secret<string>): Promise<KeyWithRequest> {
  const der = PemConverter.decodeFirst(key.reveal());
  const privateKey = await webcrypto.subtle.importKey('pkcs8', der, KEY_ALGORITHM, true, ['sign']);
  const spki = publicKeyOf(key).export({ type: 'spki', format: 'der' });
  const publicKey = await webcrypto.subtle.importKey('spki', spki, KEY_ALGORITHM, true, ['verify']);
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: ['xylem'] }],
    keys: { privateKey, publicKey },
    signingAlgorithm: KEY_ALGORITHM,
  });
  return { key, request: `${request.toString('pem')}\n` };
}

export function publicKeyOf(key: Secret<string>): KeyObject {
  return createPublicKey({ key: key.reveal(), format: 'pem' });
}
