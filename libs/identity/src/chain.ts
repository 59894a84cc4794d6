// Side effect, and first: @peculiar/x509 does not load without it.
import 'reflect-metadata';
import { X509Certificate as NodeCertificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509Certificate,
} from '@peculiar/x509';
import { BACKDATE_MS } from './certificate.ts';
import { parseIdentity } from './identity.ts';
import type { Identity, IdentityProblem } from './identity.ts';
import { derOfPem } from './pem.ts';

/** What a chain has to be good for. */
export interface ChainPurpose {
  readonly domain: string;
  readonly eku: 'client' | 'server';
}

/** A chain that was verified. */
export interface VerifiedChain extends VerifiedEndEntity {
  /** DER of the root that the chain leads to. */
  readonly root: Uint8Array;
}

/** Whose certificate it is. */
export interface VerifiedEndEntity {
  readonly kind: 'verified';
  readonly identity: Identity;
  /** When it was issued, milliseconds since 1970; its validity starts some minutes earlier. */
  readonly issuedAtMs: number;
  /** End of the end entity's validity, milliseconds since 1970. */
  readonly notAfterMs: number;
  /** Key of the end entity. */
  readonly publicKey: KeyObject;
}

/** End entity, intermediate and root, and one to spare. */
const MAX_CERTIFICATES = 4;
const MAX_CERTIFICATE_BYTES = 8 * 1024;
/** What is understood here; a certificate with any other critical extension is refused (RFC 5280 4.2). */
const KNOWN_EXTENSIONS: ReadonlySet<string> = new Set([
  '2.5.29.14',
  '2.5.29.15',
  '2.5.29.17',
  '2.5.29.19',
  '2.5.29.35',
  '2.5.29.37',
]);

const AUTHORITY_IS_NOBODY = 'the certificate is that of an authority, which is nobody';

const USAGES = { client: ExtendedKeyUsage.clientAuth, server: ExtendedKeyUsage.serverAuth } as const;

/**
 * Verifies a chain that was shown outside a TLS handshake: signatures up to a root in `trustPem`, validity of every
 * certificate at `nowMs`, CA flag, path length, key usages, ECDSA P-256 throughout, and exactly one identity.
 *
 * @param chain DER: the end entity first, each certificate signed by the next; the root may be left out.
 * @returns Who it is, or what is wrong in one line that is safe to log. Never throws for what `chain` holds.
 */
export function verifyChain(
  chain: readonly Uint8Array[],
  trustPem: string,
  nowMs: number,
  purpose: ChainPurpose,
): Identity | IdentityProblem {
  const verified = verifyChainInFull(chain, trustPem, nowMs, purpose);
  return verified.kind === 'problem' ? verified : verified.identity;
}

/** As `verifyChain`, with what else the chain says. */
export function verifyChainInFull(
  chain: readonly Uint8Array[],
  trustPem: string,
  nowMs: number,
  purpose: ChainPurpose,
): VerifiedChain | IdentityProblem {
  if (chain.length === 0) return problem('no certificate was shown');
  if (chain.length > MAX_CERTIFICATES) return problem(`${chain.length} certificates are more than ${MAX_CERTIFICATES}`);
  const shown: Certificate[] = [];
  for (const [index, der] of chain.entries()) {
    const certificate = readCertificate(der);
    if (certificate === undefined) return problem(`${nameOf(index)} is no X.509 certificate`);
    shown.push(certificate);
  }
  const path = completePath(shown, rootsOf(trustPem));
  if (path === undefined) return problem('the chain does not lead to a root that is trusted');
  const flaw = path.map((certificate, index) => flawOf(certificate, path[index + 1], index, nowMs)).find(isText);
  if (flaw !== undefined) return problem(flaw);
  const [first] = path;
  const verified = endEntity(first, purpose);
  const root = path.at(-1);
  if (root === undefined) throw new Error('bug in identity: a path without a root');
  return verified.kind === 'problem' ? verified : { ...verified, root: root.der };
}

/**
 * Reads the end entity of a chain that TLS has verified: Node shows a server no more of a client's chain than this. What TLS leaves open is checked
 * as in `verifyChain`.
 */
export function readVerifiedEndEntity(
  der: Uint8Array,
  nowMs: number,
  purpose: ChainPurpose,
): VerifiedEndEntity | IdentityProblem {
  const certificate = readCertificate(der);
  if (certificate === undefined) return problem('the certificate is no X.509 certificate');
  const flaw = fieldsFlaw(certificate, nameOf(0), nowMs);
  return flaw === undefined ? endEntity(certificate, purpose) : problem(flaw);
}

/**
 * The URI names of a certificate of one's own (PEM; the first, where intermediates follow), whenever it is valid: who it speaks for is
 * for `parseIdentity` to say. A certificate of an authority names nobody.
 */
export function readOwnUris(pem: string): readonly string[] | IdentityProblem {
  const [der] = derOfPem(pem);
  const certificate = der === undefined ? undefined : readCertificate(der);
  if (certificate === undefined) return problem('the certificate is no X.509 certificate');
  return isAuthority(certificate) ? problem(AUTHORITY_IS_NOBODY) : urisOf(certificate);
}

/** Parsed once, as long as somebody keeps the DER. */
const issuers = new WeakMap<Uint8Array, Certificate>();

/**
 * A chain with the intermediate that signed its end entity, where that was left out and is among the known ones. What it leads to is still
 * to be verified.
 */
export function completeChain(chain: readonly Uint8Array[], known: readonly Uint8Array[]): readonly Uint8Array[] {
  const [first, ...rest] = chain;
  if (first === undefined || rest.length > 0) return chain;
  const alone = readCertificate(first);
  if (alone === undefined) return chain;
  const issuer = known.find((der) => {
    const candidate = issuers.get(der) ?? readCertificate(der);
    if (candidate === undefined) return false;
    issuers.set(der, candidate);
    return isSignedBy(alone, candidate);
  });
  return issuer === undefined ? chain : [first, issuer];
}

/** One certificate: its fields from one parser, its key and signature from OpenSSL. */
interface Certificate {
  readonly der: Buffer;
  readonly fields: X509Certificate;
  readonly node: NodeCertificate;
}

function readCertificate(der: Uint8Array): Certificate | undefined {
  if (der.length === 0 || der.length > MAX_CERTIFICATE_BYTES) return undefined;
  try {
    const copy = Buffer.from(der);
    const node = new NodeCertificate(copy);
    // Both parsers take PEM and trailing bytes too; here it is DER and nothing behind it.
    if (!node.raw.equals(copy)) return undefined;
    return { der: copy, fields: new X509Certificate(new Uint8Array(copy)), node };
  } catch {
    return undefined;
  }
}

let parsedRoots: { readonly pem: string; readonly roots: readonly Certificate[] } | undefined;

/** The trusted roots; the last set is kept, because every dial asks for the same. */
function rootsOf(trustPem: string): readonly Certificate[] {
  if (parsedRoots?.pem === trustPem) return parsedRoots.roots;
  const roots = derOfPem(trustPem).flatMap((der) => readCertificate(der) ?? []);
  parsedRoots = { pem: trustPem, roots };
  return roots;
}

/** From the end entity to a trusted root; undefined when there is no such path. */
function completePath(
  shown: readonly Certificate[],
  roots: readonly Certificate[],
): readonly [Certificate, ...Certificate[]] | undefined {
  const [first, ...rest] = shown;
  const last = shown.at(-1);
  if (first === undefined || last === undefined) return undefined;
  const path: [Certificate, ...Certificate[]] = [first, ...rest];
  if (rest.length > 0 && roots.some((root) => root.der.equals(last.der))) return path;
  const root = roots.find((candidate) => isSignedBy(last, candidate));
  if (root === undefined) return undefined;
  path.push(root);
  return path;
}

/** Why the certificate at this place of the path does not count; undefined when it does. `issuer`: none for the root. */
function flawOf(
  certificate: Certificate,
  issuer: Certificate | undefined,
  index: number,
  nowMs: number,
): string | undefined {
  const name = issuer === undefined ? 'the root' : nameOf(index);
  const flaw = fieldsFlaw(certificate, name, nowMs);
  if (flaw !== undefined) return flaw;
  if (index > 0) {
    const unfit = issuerFlaw(certificate.fields, index - 1);
    if (unfit !== undefined) return `${name} ${unfit}`;
  }
  if (issuer !== undefined && !isSignedBy(certificate, issuer)) return `${name} is not signed by the next one`;
  return undefined;
}

function fieldsFlaw({ fields, node }: Certificate, name: string, nowMs: number): string | undefined {
  if (nowMs < fields.notBefore.getTime()) return `${name} is not valid yet`;
  if (nowMs > fields.notAfter.getTime()) return `${name} has expired`;
  if (!isP256(node.publicKey)) return `${name} has a key of another kind than ECDSA P-256`;
  const foreign = fields.extensions.find(({ type, critical }) => critical && !KNOWN_EXTENSIONS.has(type));
  if (foreign !== undefined) return `${name} has a critical extension that is not known here`;
  const types = fields.extensions.map(({ type }) => type);
  return new Set(types).size === types.length ? undefined : `${name} has an extension twice`;
}

/** @param below Intermediates between this certificate and the end entity. */
function issuerFlaw(fields: X509Certificate, below: number): string | undefined {
  const constraints = fields.getExtension(BasicConstraintsExtension);
  if (constraints?.ca !== true) return 'is not the certificate of an authority';
  if (constraints.pathLength !== undefined && below > constraints.pathLength) return 'may not sign other authorities';
  const usages = fields.getExtension(KeyUsagesExtension)?.usages ?? 0;
  return (usages & KeyUsageFlags.keyCertSign) === 0 ? 'may not sign certificates' : undefined;
}

function endEntity({ fields, node }: Certificate, { domain, eku }: ChainPurpose): VerifiedEndEntity | IdentityProblem {
  if (isAuthority({ fields })) return problem(AUTHORITY_IS_NOBODY);
  const usages = fields.getExtension(KeyUsagesExtension)?.usages ?? 0;
  if ((usages & KeyUsageFlags.digitalSignature) === 0) return problem('the certificate may not sign handshakes');
  const extended = fields.getExtension(ExtendedKeyUsageExtension)?.usages ?? [];
  if (!extended.includes(USAGES[eku])) return problem(`the certificate is not one for a ${eku}`);
  const identity = parseIdentity(urisOf({ fields }), domain);
  if (identity.kind === 'problem') return identity;
  return {
    kind: 'verified',
    identity,
    issuedAtMs: fields.notBefore.getTime() + BACKDATE_MS,
    notAfterMs: fields.notAfter.getTime(),
    publicKey: node.publicKey,
  };
}

function isAuthority({ fields }: Pick<Certificate, 'fields'>): boolean {
  return fields.getExtension(BasicConstraintsExtension)?.ca === true;
}

function urisOf({ fields }: Pick<Certificate, 'fields'>): readonly string[] {
  const names = fields.getExtension(SubjectAlternativeNameExtension)?.names.items ?? [];
  return names.filter(({ type }) => type === 'url').map(({ value }) => value);
}

function isSignedBy({ node }: Certificate, issuer: Certificate): boolean {
  try {
    return node.checkIssued(issuer.node) && node.verify(issuer.node.publicKey);
  } catch {
    return false;
  }
}

function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1';
}

function isText(value: string | undefined): value is string {
  return value !== undefined;
}

function nameOf(index: number): string {
  return index === 0 ? 'the certificate' : `the issuer certificate ${index}`;
}

function problem(detail: string): IdentityProblem {
  return { kind: 'problem', detail };
}
