import { status as Status } from '@grpc/grpc-js';
import type { AuditLog } from '@xylem/audit';
import { StatusError } from '@xylem/grpc';
import type { StreamPeer } from '@xylem/grpc';
import { describeIdentity, parseIdentity } from '@xylem/identity';
import type { Identity } from '@xylem/identity';
import type { SessionIdentity } from '@xylem/membership';
import { RateQuota } from '@xylem/quota';
import { nameOf } from './authority/enrolments.ts';

/** `admin`: the registries' own administrators, and users whom the policy lists as such. */
export type Role = 'proxy' | 'admin';

/**
 * Who may call what: each method has exactly one role, and a method without a row cannot be bound. Health, reflection and
 * ChannelService are served to whoever passed the TLS handshake.
 */
export const ROLE_OF_METHOD = {
  '/xylem.registry.v1.RegistryService/Session': 'proxy',
  '/xylem.registry.v1.RegistryService/AuthoriseDial': 'proxy',
  '/xylem.registry.v1.RegistryService/GetStandingGrant': 'proxy',
  '/xylem.admin.v1.AdminService/AddToken': 'admin',
  '/xylem.admin.v1.AdminService/ListTokens': 'admin',
  '/xylem.admin.v1.AdminService/RemoveToken': 'admin',
  '/xylem.admin.v1.AdminService/PutUser': 'admin',
  '/xylem.admin.v1.AdminService/ListUsers': 'admin',
  '/xylem.admin.v1.AdminService/RemoveUser': 'admin',
  '/xylem.admin.v1.AdminService/GetPolicy': 'admin',
  '/xylem.admin.v1.AdminService/SetPolicy': 'admin',
  '/xylem.admin.v1.AdminService/ListPolicies': 'admin',
  '/xylem.admin.v1.AdminService/CheckPolicy': 'admin',
  '/xylem.admin.v1.AdminService/Revoke': 'admin',
  '/xylem.admin.v1.AdminService/Unlock': 'admin',
  '/xylem.admin.v1.AdminService/ListIdentities': 'admin',
  '/xylem.admin.v1.AdminService/GetAuthority': 'admin',
  '/xylem.admin.v1.AdminService/RotateAuthority': 'admin',
} as const satisfies Readonly<Record<string, Role>>;

export type GuardedMethod = keyof typeof ROLE_OF_METHOD;
type MethodOf<R extends Role> = {
  [M in GuardedMethod]: (typeof ROLE_OF_METHOD)[M] extends R ? M : never;
}[GuardedMethod];

export interface GuardOptions {
  readonly domain: string;
  /** Whether a user is an administrator, beside the registries' own. */
  readonly isAdmin: (user: string) => boolean;
  /** Why nothing is served to this peer, such as a revocation; undefined when it is. */
  readonly refusal: (identity: string, peer: StreamPeer) => string | undefined;
  readonly audit: Pick<AuditLog, 'record'>;
}

/** Of one administrator: more than a script asks one after the other. */
const ADMIN_LIMITS = { perSecond: 200, burst: 5_000 } as const;
/** Reading the greatest policy takes a second, in which nobody else is served. */
const POLICY_LIMITS = { perSecond: 1, burst: 60 } as const;
const POLICY_METHOD: GuardedMethod = '/xylem.admin.v1.AdminService/SetPolicy';
const MAX_ADMINS = 1_000;

/** Decides who may call a method, from the verified certificate only. What it refuses is audited. */
export class Guard {
  readonly #options: GuardOptions;
  readonly #admins = new RateQuota(ADMIN_LIMITS, MAX_ADMINS);
  readonly #policies = new RateQuota(POLICY_LIMITS, MAX_ADMINS);

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  /** Who may have a session: a root proxy under its own name. */
  session(peer: StreamPeer): SessionIdentity {
    try {
      return { kind: 'proxy', proxy: this.proxy('/xylem.registry.v1.RegistryService/Session', peer) };
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      return { kind: 'denied', detail: error.detail };
    }
  }

  /** The calling root proxy's name. Throws PERMISSION_DENIED. */
  proxy(method: MethodOf<'proxy'>, peer: StreamPeer): string {
    const identity = this.#identity(method, peer);
    if (identity.kind === 'proxy') return identity.proxy;
    throw this.#denied(method, identity, peer, 'it is for root proxies');
  }

  /** The calling administrator's identity, such as `user/alice`. Throws PERMISSION_DENIED, or RESOURCE_EXHAUSTED. */
  admin(method: MethodOf<'admin'>, peer: StreamPeer): string {
    const identity = this.#identity(method, peer);
    if (identity.kind === 'user' && this.#options.isAdmin(identity.user)) {
      const name = nameOf(identity, this.#options.domain);
      const quota = method === POLICY_METHOD ? this.#policies : this.#admins;
      const answer = quota.take(name, performance.now());
      if (answer.kind === 'granted') return name;
      const detail = `${name} calls ${method} more often than it may; try again in ${answer.retryAfterMs} ms`;
      throw new StatusError(Status.RESOURCE_EXHAUSTED, detail);
    }
    throw this.#denied(method, identity, peer, 'it is for administrators: see admins in the policy');
  }

  #identity(method: GuardedMethod, peer: StreamPeer): Identity {
    const { domain, audit, refusal } = this.#options;
    const identity = parseIdentity(peer.uris, domain);
    if (identity.kind === 'problem') {
      const details = { source: peer.address, cause: 'identity' };
      audit.record({ kind: 'request.denied', actor: 'anonymous', subject: method, outcome: 'denied', details });
      throw new StatusError(Status.PERMISSION_DENIED, identity.detail);
    }
    const why = refusal(nameOf(identity, domain), peer);
    if (why !== undefined) throw this.#denied(method, identity, peer, why);
    return identity;
  }

  #denied(method: GuardedMethod, identity: Identity, peer: StreamPeer, why: string): StatusError {
    const { domain, audit } = this.#options;
    const details = { source: peer.address, cause: 'role' };
    audit.record({
      kind: 'request.denied',
      actor: nameOf(identity, domain),
      subject: method,
      outcome: 'denied',
      details,
    });
    return new StatusError(Status.PERMISSION_DENIED, `${describeIdentity(identity)} may not call ${method}: ${why}`);
  }
}
