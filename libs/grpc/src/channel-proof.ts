import { createPrivateKey, sign, verify, X509Certificate } from 'node:crypto';
import type { channel } from '@xylem/wire';
import type { CertificateVerifier, TlsMaterial } from './api.ts';
import { fingerprintOf, MAX_CHAIN_LENGTH, urisOf } from './session-peer.ts';
import type { SessionPeer } from './session-peer.ts';

/**
 * Proofs of ChannelService.Refresh: that the sender, who is at this end of this very TLS connection, holds the key of the
 * certificate it shows. docs/PROTOCOL.md has the text that is signed.
 */

export type Role = 'client' | 'server';

/** ASN.1 of two 32-byte numbers takes 72 at most. */
const MAX_SIGNATURE_BYTES = 80;
/** Ours have 700 to 900. */
const MAX_CERTIFICATE_BYTES = 8 * 1024;

/** A proof that proves nothing. The message is one line that the sender may see. */
export class ProofError extends Error {
  override readonly name = 'ProofError';
}

/** `role` is the signer's. No other text that our keys sign begins like this one. */
function textOf(role: Role, exporter: Buffer, endEntity: Uint8Array): Buffer {
  return Buffer.from(`xylem-channel-refresh-v1\n${role}\n${exporter.toString('hex')}\n${fingerprintOf(endEntity)}\n`);
}

/** @throws ProofError when the connection is gone or the material has no certificate. */
export function makeProof(role: Role, { cert, key }: TlsMaterial, peer: SessionPeer): channel.Proof {
  const certificates = chainIn(cert);
  const [endEntity] = certificates;
  if (endEntity === undefined) throw new ProofError('there is no certificate to show');
  const signature = sign('sha256', textOf(role, exporterOf(peer), endEntity), createPrivateKey(key));
  return { certificates, signature };
}

export interface Check {
  /** Who must have made it. */
  readonly role: Role;
  readonly peer: SessionPeer;
  readonly verify: CertificateVerifier;
  /** The name that a server's certificate must bear; undefined for clients. */
  readonly serverName: string | undefined;
}

/**
 * Takes the certificate of a good proof for the peer's. An older one than the present changes nothing.
 *
 * @throws ProofError that says what is wrong; then nothing has changed.
 */
export async function acceptProof(proof: channel.Proof | undefined, check: Check): Promise<void> {
  const { role, peer } = check;
  const { certificate, chain } = readProof(proof);
  const [endEntity] = chain;
  const { publicKey } = certificate;
  if (endEntity === undefined || publicKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw new ProofError('the certificate is not for an ECDSA P-256 key');
  if (!verify('sha256', textOf(role, exporterOf(peer), endEntity), publicKey, proof?.signature ?? Buffer.alloc(0)))
    throw new ProofError('the signature is not for this connection and certificate');
  const uris = urisOf(certificate);
  if (uris.length !== peer.uris.length || uris.some((uri, index) => uri !== peer.uris[index]))
    throw new ProofError('the certificate is for another identity than the connection');
  if (check.serverName !== undefined && !bears(certificate, check.serverName))
    throw new ProofError(`the certificate is not for ${check.serverName}`);
  // Known, so that it moves nothing: whoever asks often does not cost a check of the whole chain each time.
  if (peer.shows(endEntity)) return;
  try {
    await check.verify(chain, role);
  } catch (error) {
    throw new ProofError(error instanceof Error ? error.message : String(error), { cause: error });
  }
  peer.renew(certificate, chain);
}

function readProof(proof: channel.Proof | undefined): { certificate: X509Certificate; chain: readonly Uint8Array[] } {
  const chain = proof?.certificates ?? [];
  const [endEntity] = chain;
  const signatureBytes = proof?.signature.length ?? 0;
  if (endEntity === undefined) throw new ProofError('the proof has no certificate');
  if (chain.length > MAX_CHAIN_LENGTH) throw new ProofError(`the proof has more than ${MAX_CHAIN_LENGTH} certificates`);
  if (chain.some(({ length }) => length > MAX_CERTIFICATE_BYTES)) throw new ProofError('a certificate is too long');
  if (signatureBytes > MAX_SIGNATURE_BYTES) throw new ProofError('the signature is too long');
  try {
    return { certificate: new X509Certificate(endEntity), chain };
  } catch (error) {
    throw new ProofError('the certificate cannot be read', { cause: error });
  }
}

function exporterOf(peer: SessionPeer): Buffer {
  const exporter = peer.exporter();
  if (exporter === undefined) throw new ProofError('the connection has no verified peer');
  return exporter;
}

function bears(certificate: X509Certificate, name: string): boolean {
  return certificate.checkHost(name) !== undefined || certificate.checkIP(name) !== undefined;
}

function chainIn(pem: string): Buffer[] {
  const texts = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return texts.map((text) => new X509Certificate(text).raw);
}
