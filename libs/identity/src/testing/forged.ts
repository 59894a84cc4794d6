// Side effect, and first: @peculiar/x509 does not load without it.
import 'reflect-metadata';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { Extension, JsonGeneralNames } from '@peculiar/x509';
import { KEY_ALGORITHM, exportPrivateKey, generateKeyPair, makeRootCertificate, validity } from '../certificate.ts';
import type { Signer } from '../certificate.ts';
import { DOMAIN } from './enrolment-stand-in.ts';

const HOUR_MS = 3_600_000;

/** What the certificate is to say; each default is what the product gives to an agent. */
export interface Wish {
  readonly names?: JsonGeneralNames;
  readonly ca?: boolean;
  readonly usages?: ExtendedKeyUsage[];
  readonly keyUsages?: KeyUsageFlags;
  readonly extra?: Extension[];
  readonly from?: number;
  readonly to?: number;
}

export interface Forged {
  readonly der: Uint8Array;
  /** PKCS #8 PEM. */
  readonly key: string;
}

/** An end entity as somebody with an authority's key could make it. */
export async function forge(signer: Signer, wish: Wish = {}): Promise<Forged> {
  const keys = await generateKeyPair();
  const now = Date.now();
  const { names = [{ type: 'url', value: `spiffe://${DOMAIN}/leaf/berlin/agent/a1` }], extra = [] } = wish;
  const { ca = false, usages = [ExtendedKeyUsage.clientAuth], keyUsages = KeyUsageFlags.digitalSignature } = wish;
  const certificate = await X509CertificateGenerator.create({
    subject: [{ CN: ['xylem'] }],
    issuer: signer.certificate.subjectName,
    publicKey: keys.publicKey,
    signingKey: signer.privateKey,
    notBefore: new Date(wish.from ?? now - HOUR_MS),
    notAfter: new Date(wish.to ?? now + HOUR_MS),
    signingAlgorithm: KEY_ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(ca, undefined, true),
      new KeyUsagesExtension(keyUsages, true),
      new ExtendedKeyUsageExtension(usages),
      new SubjectAlternativeNameExtension(names),
      ...extra,
    ],
  });
  return { der: new Uint8Array(certificate.rawData), key: await exportPrivateKey(keys.privateKey) };
}

/** A root of some hours. */
export async function forgeRoot(): Promise<Signer> {
  const keys = await generateKeyPair();
  const certificate = await makeRootCertificate('root', keys, validity(Date.now(), 10 * HOUR_MS));
  return { certificate, privateKey: keys.privateKey };
}
