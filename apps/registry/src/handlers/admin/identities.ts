import type { IdentityRecord } from '@xylem/authority';
import type { MethodBinding } from '@xylem/grpc';
import { AdminService } from '@xylem/wire';
import type { admin } from '@xylem/wire';
import type { Guard } from '../../authorise.ts';
import type { Identities } from '../../authority/identities.ts';
import { adminMethod } from './method.ts';

/** ListIdentities, Revoke, Unlock. */
export function identityMethods(guard: Guard, identities: Identities): readonly MethodBinding[] {
  return [
    adminMethod(guard, AdminService.listIdentities, async () => ({
      identities: (await identities.list()).map(identityToWire),
    })),
    adminMethod(guard, AdminService.revoke, async ({ identity, reason }, actor) => {
      await identities.revoke(identity, reason, actor);
      return {};
    }),
    adminMethod(guard, AdminService.unlock, async ({ identity }, actor) => ({
      unlocked: await identities.unlock(identity, actor),
    })),
  ];
}

function identityToWire(record: IdentityRecord): admin.IdentityRecord {
  const { identity, generation, issuedAtMs, notAfterMs, lock } = record;
  const state = lock === undefined ? 'active' : lock.kind === 'cloned' ? 'locked' : 'revoked';
  return {
    identity,
    generation: BigInt(generation),
    issuedAtMs: BigInt(issuedAtMs),
    notAfterMs: BigInt(notAfterMs),
    state,
    detail: lock?.reason ?? '',
  };
}
