import { readOwnUris, verifyChain } from './chain.ts';
import type { TlsMaterial } from './tls-material.ts';

/** Same type as CertificateVerifier of @xylem/grpc, which describes it. */
export type ChainVerifier = (certificates: readonly Uint8Array[], purpose: 'client' | 'server') => void;

/**
 * Verifies chains against the trust that `current` has at that moment, for identities of the domain that its own
 * certificate belongs to. The verifier throws an Error that says in one line what is wrong.
 */
export function chainVerifier(current: () => TlsMaterial): ChainVerifier {
  let own = { cert: '', domain: '' };
  return (certificates, eku) => {
    const { ca, cert } = current();
    if (own.cert !== cert) own = { cert, domain: domainOf(cert) };
    const identity = verifyChain(certificates, ca, Date.now(), { domain: own.domain, eku });
    if (identity.kind === 'problem') throw new Error(identity.detail);
  };
}

/** Of the one URI `spiffe://<domain>/...`; empty, which no chain belongs to, where the certificate names nobody or more than one. */
function domainOf(cert: string): string {
  const uris = readOwnUris(cert);
  if ('kind' in uris || uris.length !== 1) return '';
  return /^spiffe:\/\/(?<domain>[a-z0-9.-]+)\//.exec(uris[0] ?? '')?.groups?.['domain'] ?? '';
}
