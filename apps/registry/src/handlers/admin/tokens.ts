import type { JoinRole } from '@xylem/authority';
import type { MethodBinding } from '@xylem/grpc';
import { AdminService, admin } from '@xylem/wire';
import type { Guard } from '../../authorise.ts';
import { AuthorityError } from '../../authority/problem.ts';
import type { Tokens } from '../../authority/tokens.ts';
import { adminMethod } from './method.ts';

/** AddToken, ListTokens, RemoveToken. */
export function tokenMethods(guard: Guard, tokens: Tokens): readonly MethodBinding[] {
  return [
    adminMethod(guard, AdminService.addToken, async (request, actor) => {
      const { leaf, name, ttlSeconds, sources } = request;
      const made = await tokens.add({ role: roleFrom(request.role), leaf, name, ttlSeconds, sources }, actor);
      const { fingerprint, expiresAtMs } = made;
      return { token: made.text.reveal(), fingerprint, expiresAtMs: BigInt(expiresAtMs) };
    }),
    adminMethod(guard, AdminService.listTokens, async () => ({
      tokens: (await tokens.list()).map((record) => ({
        fingerprint: record.hash.slice(0, 8),
        role: ROLES[record.role],
        leaf: record.leaf,
        name: record.name,
        expiresAtMs: BigInt(record.expiresAtMs),
        createdBy: record.createdBy,
        sources: [...record.sources],
      })),
    })),
    adminMethod(guard, AdminService.removeToken, async ({ fingerprint }, actor) => ({
      removed: await tokens.remove(fingerprint, actor),
    })),
  ];
}

const ROLES: Readonly<Record<JoinRole, admin.Role>> = {
  agent: admin.Role.ROLE_AGENT,
  proxy: admin.Role.ROLE_PROXY,
  registry: admin.Role.ROLE_REGISTRY,
};

function roleFrom(role: admin.Role): JoinRole {
  switch (role) {
    case admin.Role.ROLE_AGENT:
      return 'agent';
    case admin.Role.ROLE_PROXY:
      return 'proxy';
    case admin.Role.ROLE_REGISTRY:
      return 'registry';
    default:
      throw new AuthorityError('invalid', 'a token needs a role', 'agent, proxy or registry');
  }
}
