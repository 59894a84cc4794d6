// Side effect, and first: @peculiar/x509 does not load without it.
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
  cryptoProvider,
} from '@peculiar/x509';
import type { JsonGeneralNames, PublicKey, X509Certificate } from '@peculiar/x509';
import { identityUri } from './identity.ts';
import type { Identity } from './identity.ts';

cryptoProvider.set(webcrypto);

/** ECDSA P-256 with SHA-256: what every TLS 1.3 stack speaks, with small certificates and cheap handshakes. */
export const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** Certificates start this much in the past, for peers whose clock is behind. */
export const BACKDATE_MS = 5 * 60_000;

/** X.509 counts whole seconds. */
const SECOND_MS = 1_000;

export type KeyPair = webcrypto.CryptoKeyPair;

export async function generateKeyPair(): Promise<KeyPair> {
  return webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify']);
}

export async function exportPrivateKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64');
  const lines = der.match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`;
}

/** DNS SANs of an identity: they only serve the TLS name check, never authorisation. */
function dnsNames(identity: Identity, domain: string): readonly string[] {
  switch (identity.kind) {
    case 'proxy':
      return [`${identity.proxy}.${domain}`, domain];
    case 'registry':
      return [`registry.${domain}`, `enrol.${domain}`];
    case 'agent':
    case 'user':
      return [];
  }
}

function extendedKeyUsages(identity: Identity): ExtendedKeyUsage[] {
  switch (identity.kind) {
    case 'proxy':
    case 'registry':
      return [ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth];
    case 'agent':
    case 'user':
      return [ExtendedKeyUsage.clientAuth];
  }
}

export interface Signer {
  readonly certificate: X509Certificate;
  readonly privateKey: webcrypto.CryptoKey;
}

export interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** From `BACKDATE_MS` before now to `ttlMs` after it, but never past the end of the signing certificate. */
export function validity(now: number, ttlMs: number, limit?: Date): Validity {
  const notAfter = new Date(Math.ceil((now + ttlMs) / SECOND_MS) * SECOND_MS);
  return {
    notBefore: new Date(Math.floor((now - BACKDATE_MS) / SECOND_MS) * SECOND_MS),
    notAfter: limit !== undefined && limit < notAfter ? limit : notAfter,
  };
}

/** A root certificate, signed by itself. It may sign one level of intermediates. */
export async function makeRootCertificate(
  subject: string,
  keys: KeyPair,
  lifetime: Validity,
): Promise<X509Certificate> {
  return X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [subject] }],
    keys,
    ...lifetime,
    signingAlgorithm: KEY_ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 1, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
}

/** The certificate of a registry replica that signs end entities, and nothing else. */
export async function makeIntermediateCertificate(
  subject: string,
  publicKey: PublicKey | webcrypto.CryptoKey,
  lifetime: Validity,
  root: Signer,
): Promise<X509Certificate> {
  return X509CertificateGenerator.create({
    subject: [{ CN: [subject] }],
    issuer: root.certificate.subjectName,
    publicKey,
    signingKey: root.privateKey,
    ...lifetime,
    signingAlgorithm: KEY_ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(publicKey),
      await AuthorityKeyIdentifierExtension.create(root.certificate.publicKey),
    ],
  });
}

/** An end-entity certificate with exactly the names and usages of docs/ARCHITECTURE.md, whatever a request asked for. */
export async function makeIdentityCertificate(
  identity: Identity,
  domain: string,
  publicKey: PublicKey | webcrypto.CryptoKey,
  lifetime: Validity,
  signer: Signer,
): Promise<X509Certificate> {
  const uri = identityUri(identity, domain);
  const names: JsonGeneralNames = [
    { type: 'url', value: uri },
    ...dnsNames(identity, domain).map((value) => ({ type: 'dns' as const, value })),
  ];
  return X509CertificateGenerator.create({
    // The subject stays empty of meaning: nothing may ever be read from it.
    subject: [{ CN: ['xylem'] }],
    issuer: signer.certificate.subjectName,
    publicKey,
    signingKey: signer.privateKey,
    ...lifetime,
    signingAlgorithm: KEY_ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension(extendedKeyUsages(identity)),
      new SubjectAlternativeNameExtension(names),
      await SubjectKeyIdentifierExtension.create(publicKey),
      await AuthorityKeyIdentifierExtension.create(signer.certificate.publicKey),
    ],
  });
}
