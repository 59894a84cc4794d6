// Side effect, and first: @peculiar/x509 does not load without it.
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
  cryptoProvider,
} from '@peculiar/x509';

/** PEM, as TLS takes it. */
export interface ShownMaterial {
  readonly cert: string;
  readonly key: string;
}

export interface ForgedCertificate {
  readonly uris: readonly string[];
  /** DNS names. */
  readonly hosts?: readonly string[];
  /** Default: CN=xylem. */
  readonly subject?: string;
  /** Default false. */
  readonly isAuthority?: boolean;
  /** Default client. */
  readonly usage?: keyof typeof USAGES;
  /** Seconds from now. Default an hour before and after. */
  readonly fromS?: number;
  readonly toS?: number;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const USAGES = { client: ExtendedKeyUsage.clientAuth, server: ExtendedKeyUsage.serverAuth } as const;
const HOUR_S = 3_600;
const MS_PER_SECOND = 1_000;

/** What signs: the real authority's key, as nobody but a registry has it, or one that a stranger made up. */
export class Forger {
  readonly #issuer: string;
  readonly #chain: string;
  readonly #key: webcrypto.CryptoKey;

  private constructor(issuer: string, chain: string, key: webcrypto.CryptoKey) {
    this.#issuer = issuer;
    this.#chain = chain;
    this.#key = key;
  }

  /** With the intermediate in a registry's authority folder: what it signs leads to the trusted root. */
  static async ofRegistry(authorityDir: string): Promise<Forger> {
    cryptoProvider.set(webcrypto);
    const text = readFileSync(join(authorityDir, 'intermediate.pem'), 'utf8');
    const at = text.indexOf('-----BEGIN PRIVATE KEY-----');
    const der = Buffer.from(text.slice(at).replaceAll(/-----[A-Z ]+-----|\s/g, ''), 'base64');
    const key = await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
    const chain = text.slice(0, at);
    return new Forger(new X509Certificate(chain).subject, chain, key);
  }

  /** With an authority of its own under the name of the other. */
  static async stranger(like: Forger): Promise<Forger> {
    const keys = await newKeys();
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name: like.#issuer,
      keys,
      ...lifetime({}),
      signingAlgorithm: ALGORITHM,
      extensions: [
        new BasicConstraintsExtension(true, 1, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
      ],
    });
    return new Forger(like.#issuer, certificate.toString('pem'), keys.privateKey);
  }

  async sign(wish: ForgedCertificate): Promise<ShownMaterial> {
    const keys = await newKeys();
    const certificate = await X509CertificateGenerator.create({
      subject: wish.subject ?? 'CN=xylem',
      issuer: this.#issuer,
      publicKey: keys.publicKey,
      signingKey: this.#key,
      ...lifetime(wish),
      signingAlgorithm: ALGORITHM,
      extensions: extensionsOf(wish),
    });
    return { cert: `${certificate.toString('pem')}\n${this.#chain}`, key: await pemOf(keys.privateKey) };
  }

  /** Signed with its own key, without any authority. */
  static async selfSigned(wish: ForgedCertificate): Promise<ShownMaterial> {
    const keys = await newKeys();
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name: wish.subject ?? 'CN=xylem',
      keys,
      ...lifetime(wish),
      signingAlgorithm: ALGORITHM,
      extensions: extensionsOf(wish),
    });
    return { cert: certificate.toString('pem'), key: await pemOf(keys.privateKey) };
  }
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

function extensionsOf({ uris, hosts = [], isAuthority = false, usage = 'client' }: ForgedCertificate) {
  const flags = isAuthority
    ? KeyUsageFlags.keyCertSign | KeyUsageFlags.digitalSignature
    : KeyUsageFlags.digitalSignature;
  return [
    new BasicConstraintsExtension(isAuthority, undefined, true),
    new KeyUsagesExtension(flags, true),
    new ExtendedKeyUsageExtension([USAGES[usage]]),
    new SubjectAlternativeNameExtension([
      ...uris.map((value) => ({ type: 'url' as const, value })),
      ...hosts.map((value) => ({ type: 'dns' as const, value })),
    ]),
  ];
}

function lifetime({ fromS = -HOUR_S, toS = HOUR_S }: Pick<ForgedCertificate, 'fromS' | 'toS'>) {
  const now = Date.now();
  return { notBefore: new Date(now + fromS * MS_PER_SECOND), notAfter: new Date(now + toS * MS_PER_SECOND) };
}

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`;
}
