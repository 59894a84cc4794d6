import type { StreamPeer } from '@xylem/grpc';
import { describeIdentity, parseIdentity } from '@xylem/identity';
import type { SessionIdentity } from '@xylem/membership';

/** Decides who may have a session: the other end's verified certificate in, a root proxy's name or a refusal out. */
export type Authorise = (peer: StreamPeer) => SessionIdentity;

/** Root proxies of the trust domain, each under its own name. */
export function authoriseProxies(domain: string): Authorise {
  return (peer) => {
    const identity = parseIdentity(peer.uris, domain);
    if (identity.kind === 'problem') return { kind: 'denied', detail: identity.detail };
    if (identity.kind === 'proxy') return { kind: 'proxy', proxy: identity.proxy };
    return {
      kind: 'denied',
      detail: `the certificate is that of ${describeIdentity(identity)}; only root proxies have sessions`,
    };
  };
}
