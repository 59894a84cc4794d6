import { X509Certificate, createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { KeyFileError } from './key-file.ts';

/** PEM texts of one process's credentials. Never logged. */
export interface TlsMaterial {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Material that was found to belong together. */
export interface VerifiedMaterial {
  readonly material: TlsMaterial;
  /** End of validity of the certificate, milliseconds since 1970. */
  readonly notAfterMs: number;
}

const LOAD_ATTEMPTS = 5;

/** Checks that each text is what it claims to be, and that the certificate is the key's. `names` are for messages; a KeyFileError has them. */
export function verifiedMaterial(material: TlsMaterial, names: TlsFiles): VerifiedMaterial {
  parseCertificate(material.ca, names.ca);
  const certificate = parseCertificate(material.cert, names.cert);
  const key = parseKey(material.key, names.key);
  if (!certificate.checkPrivateKey(key)) {
    throw new KeyFileError(names.key, `does not belong to the certificate in ${names.cert}`);
  }
  return { material, notAfterMs: Date.parse(certificate.validTo) };
}

function parseCertificate(text: string, name: string): X509Certificate {
  try {
    return new X509Certificate(text);
  } catch (error) {
    throw new KeyFileError(name, 'is not a certificate in PEM', { cause: error });
  }
}

function parseKey(text: string, name: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch {
    // Without the cause: OpenSSL's errors may quote the input.
    throw new KeyFileError(name, 'is not an unencrypted private key in PEM');
  }
}

/** Reads again when `version` changed during the reading: what it came to, a failure included, says nothing then. */
export function readStable<T>(version: () => string, read: () => T): T {
  for (let attempt = 1; ; attempt += 1) {
    const before = version();
    try {
      const value = read();
      if (attempt === LOAD_ATTEMPTS || before === version()) return value;
    } catch (error) {
      if (attempt === LOAD_ATTEMPTS || before === version()) throw error;
    }
  }
}
