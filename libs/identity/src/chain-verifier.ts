import { X509Certificate } from 'node:crypto';
import { verifyChain } from './chain.ts';
import type { TlsMaterial } from './tls-source.ts';

/** Same type as CertificateVerifier of @xylem/grpc, which describes it. */
export type ChainVerifier = (certificates: readonly Uint8Array[], purpose: 'client' | 'server') => void;

/**
 * Verifies chains against the trust that `current` has at that moment, for identities of the domain that its own
 * certificate belongs to. The verifier throws an Error that says in one line what is wrong.
 */
export function chainVerifier(current: () => TlsMaterial): ChainVerifier {
  return (certificates, eku) => {
    const { ca, cert } = current();
    const identity = verifyChain(certificates, ca, Date.now(), { domain: domainOf(cert), eku });
    if (identity.kind === 'problem') throw new Error(identity.detail);
  };
}

/** Of `spiffe://<domain>/...`; empty, which no chain belongs to, where the certificate names nobody. */
function domainOf(cert: string): string {
  const names = new X509Certificate(cert).subjectAltName ?? '';
  return /(?:^|, )URI:spiffe:\/\/(?<domain>[a-z0-9.-]+)\//.exec(names)?.groups?.['domain'] ?? '';
}
