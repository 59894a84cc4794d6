import { status } from '@grpc/grpc-js';
import { StatusError } from '@xylem/grpc';
import type { StreamPeer } from '@xylem/grpc';
import { describeIdentity, identityUri, parseIdentity } from '@xylem/identity';
import type { Identity } from '@xylem/identity';

/**
 * Who may call what: each method has exactly one role, and a method without a row cannot be bound. Health and reflection
 * are served to whoever passed the TLS handshake.
 */
export const ROLE_OF_METHOD = {
  '/xylem.tunnel.v1.TunnelService/Attach': 'agent',
  '/xylem.tunnel.v1.TunnelService/Carry': 'agent',
  '/xylem.peer.v1.PeerService/Forward': 'proxy',
  '/xylem.peer.v1.PeerService/Relay': 'proxy',
  '/xylem.peer.v1.PeerService/Describe': 'proxy',
  '/xylem.access.v1.AccessService/Dial': 'user',
  '/xylem.access.v1.AccessService/ListNodes': 'user',
  '/xylem.access.v1.AccessService/GetStatus': 'user',
} as const satisfies Readonly<Record<string, Identity['kind']>>;

/** Somebody who asked for what is not theirs. */
export interface Denied {
  /** As in certificates, or `anonymous`. */
  readonly actor: string;
  readonly subject: string;
  readonly source: string;
  readonly detail: string;
}

export interface Guard {
  readonly domain: string;
  readonly denied: (denied: Denied) => void;
}

export type GuardedMethod = keyof typeof ROLE_OF_METHOD;
type Caller<Method extends GuardedMethod> = Extract<Identity, { readonly kind: (typeof ROLE_OF_METHOD)[Method] }>;

/**
 * The identity of the caller, from its verified certificate only. Throws PERMISSION_DENIED for every other role and for
 * certificates that name nobody.
 */
export function authorise<Method extends GuardedMethod>(
  method: Method,
  peer: Pick<StreamPeer, 'uris' | 'address'>,
  { domain, denied }: Guard,
): Caller<Method> {
  const identity = parseIdentity(peer.uris, domain);
  if (identity.kind !== 'problem' && hasRole(method, identity)) return identity;
  const detail =
    identity.kind === 'problem'
      ? identity.detail
      : `${describeIdentity(identity)} may not call ${method}: it takes certificates of kind ${ROLE_OF_METHOD[method]} only`;
  const actor =
    identity.kind === 'problem' ? 'anonymous' : identityUri(identity, domain).slice(`spiffe://${domain}/`.length);
  denied({ actor, subject: method, source: peer.address, detail });
  throw new StatusError(status.PERMISSION_DENIED, detail);
}

function hasRole<Method extends GuardedMethod>(method: Method, identity: Identity): identity is Caller<Method> {
  return identity.kind === ROLE_OF_METHOD[method];
}
