import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { webcrypto, X509Certificate } from 'node:crypto';
import type { TlsMaterial, TlsSource } from '../api.ts';

/** Certificates for tests of this lib: the product's come from @xylem/identity, which adapters do not import. */

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;

export interface CertificateRequest {
  readonly uris?: readonly string[];
  readonly dns?: readonly string[];
  readonly ips?: readonly string[];
  readonly validFrom?: Date;
  readonly validTo?: Date;
}

export interface TestAuthority {
  readonly pem: string;
  issue(request: CertificateRequest): Promise<TlsMaterial>;
}

let serial = 1;
const nextSerial = (): string => (serial++).toString(16).padStart(8, '0');

function pemOfKey(der: ArrayBuffer): string {
  return `-----BEGIN PRIVATE KEY-----\n${Buffer.from(der).toString('base64')}\n-----END PRIVATE KEY-----\n`;
}

export async function makeAuthority(name = `test CA ${serial}`): Promise<TestAuthority> {
  x509.cryptoProvider.set(webcrypto);
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: nextSerial(),
    name: `CN=${name}`,
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
    ],
  });
  const pem = ca.toString('pem');
  const issue = async (request: CertificateRequest): Promise<TlsMaterial> => {
    const subject = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const names = [
      ...(request.uris ?? []).map((value) => ({ type: 'url' as const, value })),
      ...(request.dns ?? []).map((value) => ({ type: 'dns' as const, value })),
      ...(request.ips ?? []).map((value) => ({ type: 'ip' as const, value })),
    ];
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: nextSerial(),
      issuer: ca.subject,
      notBefore: request.validFrom ?? new Date(Date.now() - DAY_MS),
      notAfter: request.validTo ?? new Date(Date.now() + DAY_MS),
      signingAlgorithm: ALGORITHM,
      publicKey: subject.publicKey,
      signingKey: keys.privateKey,
      extensions: [
        new x509.SubjectAlternativeNameExtension(names, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      ],
    });
    const key = pemOfKey(await webcrypto.subtle.exportKey('pkcs8', subject.privateKey));
    return { ca: pem, cert: certificate.toString('pem'), key };
  };
  return { pem, issue };
}

export interface RenewableSource extends TlsSource {
  renew(material: TlsMaterial): void;
}

function verifyChain(trust: string, [der]: readonly Uint8Array[]): void {
  const certificate = new X509Certificate(der ?? new Uint8Array());
  const roots = (trust.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g) ?? []).map(
    (text) => new X509Certificate(text),
  );
  if (!roots.some(({ publicKey }) => certificate.verify(publicKey))) throw new Error('not signed by a trusted CA');
  const now = Date.now();
  if (certificate.validToDate.getTime() <= now || certificate.validFromDate.getTime() > now)
    throw new Error('not valid now');
}

export function sourceOf(material: TlsMaterial): RenewableSource {
  let current = material;
  const listeners = new Set<(material: TlsMaterial) => void>();
  return {
    current: () => current,
    verify: (certificates) => verifyChain(current.ca, certificates),
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    renew(next) {
      current = next;
      for (const listener of listeners) listener(next);
    },
  };
}
