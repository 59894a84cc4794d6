import { existsSync } from 'node:fs';
import { X509Certificate as NodeCertificate } from 'node:crypto';
import { certificateFingerprint, importPrivateKey, isPair } from './certificate-key.ts';
import { makePrivateKey, publicKeyOf, requestFor } from './certificate-request.ts';
import { makeIssuer } from './issuer.ts';
import type { CertificateIssuer } from './issuer.ts';
import { KeyFileError, readKeyFile, writeKeyFile } from './key-file.ts';
import { derOfPem } from './pem.ts';
import { parseAuthorityCertificate } from './root.ts';
import { Secret } from './secret.ts';

/** What one registry replica signs with, under a root that somebody holds. */
export interface Intermediate {
  /** PEM, one certificate. */
  readonly cert: string;
  /** PKCS #8 PEM. */
  readonly key: Secret<string>;
  /** Fingerprint of the root that signed it. */
  readonly root: string;
  /** The moment its validity starts and ends, milliseconds since 1970. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** undefined: signed by none of the roots. Throws a KeyFileError that names `path` when it is no authority's certificate. */
function makeIntermediate(path: string, cert: string, key: Secret<string>, rootsPem: string): Intermediate | undefined {
  const { notBefore, notAfter } = parseAuthorityCertificate(path, cert);
  const node = new NodeCertificate(cert);
  const root = derOfPem(rootsPem).find((der) => {
    const candidate = new NodeCertificate(der);
    return node.checkIssued(candidate) && node.verify(candidate.publicKey);
  });
  if (root === undefined) return undefined;
  return {
    cert,
    key,
    root: certificateFingerprint(root),
    notBeforeMs: notBefore.getTime(),
    notAfterMs: notAfter.getTime(),
  };
}

/**
 * A new intermediate with a new key, kept in `path`: certificate and key in one file of mode
 * 0600, so that no crash can part them. `sign` takes a PKCS #10 request and gives the certificate in PEM. Rejects with a
 * KeyFileError when that is signed by none of the roots or for another key, and with whatever `sign` rejects with; what was kept before stays then.
 */
export async function renewIntermediate(
  path: string,
  rootsPem: string,
  sign: (request: string) => Promise<string>,
): Promise<Intermediate> {
  const made = await requestFor(await makePrivateKey());
  const intermediate = makeIntermediate(path, await sign(made.request), made.key, rootsPem);
  if (intermediate === undefined) throw new KeyFileError(path, 'was not signed by a root that is trusted now');
  if (!new NodeCertificate(intermediate.cert).publicKey.equals(publicKeyOf(made.key))) {
    throw new KeyFileError(path, 'was signed for another key than the one it was asked for');
  }
  writeKeyFile(path, `${intermediate.cert}${intermediate.key.reveal()}`);
  return intermediate;
}

/** Whether there is one, usable or not. */
export function hasIntermediate(path: string): boolean {
  return existsSync(path);
}

/**
 * What is kept in `path`; undefined when it is under none of these roots. Throws a KeyFileError when the file is missing, broken or open
 * to others.
 */
export function readIntermediate(path: string, rootsPem: string): Intermediate | undefined {
  const text = readKeyFile(path);
  const [cert = ''] = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/.exec(text) ?? [];
  const [key = ''] = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----\n?/.exec(text) ?? [];
  return makeIntermediate(path, cert, new Secret(key), rootsPem);
}

export interface IntermediateIssuerOptions {
  readonly domain: string;
  readonly intermediate: Intermediate;
  /** PEM of every root that is trusted now. */
  readonly trust: () => string;
  /** Wall clock in milliseconds since 1970. Default Date.now. */
  readonly now?: () => number;
}

/** Signs end entities with an intermediate. Rejects with a KeyFileError when its certificate and key are no pair. */
export async function openIntermediateIssuer(options: IntermediateIssuerOptions): Promise<CertificateIssuer> {
  const { domain, intermediate, trust, now = Date.now } = options;
  const certificate = parseAuthorityCertificate('intermediate', intermediate.cert);
  const privateKey = await importPrivateKey('intermediate', intermediate.key.reveal());
  if (!(await isPair(certificate, privateKey)))
    throw new KeyFileError('intermediate', 'certificate and key are no pair');
  const { root } = intermediate;
  return makeIssuer({ domain, now, signer: { certificate, privateKey }, chain: [certificate], root, trust });
}
