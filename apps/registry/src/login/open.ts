import type { AuditLog } from '@xylem/audit';
import type { Access } from '../access/open.ts';
import type { AuthorityPlane } from '../authority/plane.ts';
import type { RegistrySettings } from '../config.ts';
import { AccessTokens } from './access-tokens.ts';
import { Logins } from './logins.ts';
import { OidcVerifier } from './oidc.ts';

export interface LoginOptions {
  readonly settings: Pick<RegistrySettings, 'domain' | 'id' | 'authority' | 'oidc'>;
  readonly plane: AuthorityPlane;
  readonly access: Access;
  readonly audit: AuditLog;
}

/** Logins as the configuration says. */
export function openLogins({ settings, plane, access, audit }: LoginOptions): Logins {
  const { domain, id, authority, oidc } = settings;
  const accessTokens = new AccessTokens({
    domain,
    registry: id,
    issuer: () => plane.keyring.issuer,
    lifetimeMs: authority.userTtlMs,
    now: () => Date.now(),
  });
  const { users, passwords } = access;
  const { store, enrolments } = plane;
  const verifier = oidc === undefined ? undefined : new OidcVerifier({ ...oidc, groupsClaim: oidc.groupsClaim });
  return new Logins({ store, users, passwords, enrolments, accessTokens, audit, oidc: verifier });
}
