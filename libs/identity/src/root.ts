// Side effect, and first: @peculiar/x509 does not load without it.
import 'reflect-metadata';
import { basename } from 'node:path';
import { BasicConstraintsExtension, X509Certificate } from '@peculiar/x509';
import { importPrivateKey, isPair } from './certificate-key.ts';
import { generateKeyPair, makeRootCertificate, validity } from './certificate.ts';
import type { Signer } from './certificate.ts';
import { isDomain } from './identity.ts';
import { KeyFileError, readCertificateFile, readKeyFile } from './key-file.ts';

const DAY_MS = 24 * 60 * 60_000;
/** Ten years: a root is replaced by rotation, not by expiry. */
const ROOT_TTL_MS = 3_650 * DAY_MS;

/** A new root with a new key. Throws a RangeError for a domain that is none. */
export async function makeRoot(domain: string, nowMs: number, ttlMs = ROOT_TTL_MS): Promise<Signer> {
  if (!isDomain(domain)) throw new RangeError(`domain ${JSON.stringify(domain)} is not a lower-case DNS name`);
  const keys = await generateKeyPair();
  const certificate = await makeRootCertificate(subjectOf(domain), keys, validity(nowMs, ttlMs));
  return { certificate, privateKey: keys.privateKey };
}

/** Rejects with a KeyFileError when a file is unusable, open to others, of another domain, or the two are no pair. */
export async function readRoot(
  files: { readonly certificate: string; readonly key: string },
  domain: string,
): Promise<Signer> {
  const certificate = parseAuthorityCertificate(files.certificate, readCertificateFile(files.certificate));
  const privateKey = await importPrivateKey(files.key, readKeyFile(files.key));
  if (!(await isPair(certificate, privateKey))) {
    throw new KeyFileError(files.key, `does not belong to ${basename(files.certificate)} beside it`);
  }
  if (certificate.subjectName.getField('CN')[0] !== subjectOf(domain)) {
    const detail = `belongs to another domain than ${domain} (its subject is ${certificate.subject})`;
    throw new KeyFileError(files.certificate, detail);
  }
  return { certificate, privateKey };
}

function subjectOf(domain: string): string {
  return `Xylem root CA of ${domain}`;
}

/** `path` is for messages. Throws a KeyFileError. */
export function parseAuthorityCertificate(path: string, text: string): X509Certificate {
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
