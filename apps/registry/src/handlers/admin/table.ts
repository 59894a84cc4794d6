import type { AuditLog } from '@xylem/audit';
import type { MethodBinding } from '@xylem/grpc';
import { userPinOf } from '@xylem/identity';
import type { Access } from '../../access/open.ts';
import type { Guard } from '../../authorise.ts';
import { Identities } from '../../authority/identities.ts';
import type { AuthorityPlane } from '../../authority/plane.ts';
import { Rotation } from '../../authority/rotation.ts';
import type { AuthorityStore } from '../../authority/store.ts';
import { authorityMethods } from './authority.ts';
import { identityMethods } from './identities.ts';
import { policyMethods } from './policy.ts';
import { tokenMethods } from './tokens.ts';
import { userMethods } from './users.ts';

export interface AdminParts {
  readonly domain: string;
  readonly guard: Guard;
  readonly access: Access;
  readonly store: AuthorityStore;
  readonly audit: AuditLog;
  /** undefined: certificates come from elsewhere, so there are no tokens and no rotation; those methods are UNIMPLEMENTED. */
  readonly plane: AuthorityPlane | undefined;
  /** Longest life of any certificate. */
  readonly longestTtlMs: number;
}

/** Every method of AdminService that this registry serves. */
export function adminMethods(parts: AdminParts): readonly MethodBinding[] {
  const { domain, guard, access, store, audit, plane, longestTtlMs } = parts;
  const now = (): number => Date.now();
  const identities = new Identities({ domain, store, audit, longestTtlMs, now });
  const pin = (): string => userPinOf(plane?.keyring.rootPem ?? '');
  const methods = [
    ...identityMethods(guard, identities),
    ...userMethods(guard, access.users, pin),
    ...policyMethods(guard, access.policies, access.inForce),
  ];
  if (plane === undefined) return methods;
  const { tokens, keyring } = plane;
  const rotation = new Rotation({ store, keyring, identities, audit, now });
  return [...methods, ...tokenMethods(guard, tokens), ...authorityMethods(guard, domain, rotation)];
}
