import type { MethodBinding } from '@xylem/grpc';
import { AdminService } from '@xylem/wire';
import type { admin } from '@xylem/wire';
import { groupsOf } from '../../access/user-record.ts';
import type { UserRecord } from '../../access/user-record.ts';
import type { Users } from '../../access/users.ts';
import type { Guard } from '../../authorise.ts';
import { adminMethod } from './method.ts';

/**
 * PutUser, ListUsers, RemoveUser.
 *
 * @param pin Of the root certificate in force; empty with certificates from elsewhere.
 */
export function userMethods(guard: Guard, users: Users, pin: () => string): readonly MethodBinding[] {
  return [
    adminMethod(guard, AdminService.putUser, async (request, actor) => {
      const { name, groups, password, disabled, replace, keepGroups } = request;
      const wish = { name, groups: keepGroups ? undefined : groups, disabled, replace };
      await users.put({ ...wish, password: password === '' ? undefined : password }, actor);
      return { pin: pin() };
    }),
    adminMethod(guard, AdminService.listUsers, async () => ({
      users: (await users.list()).map((record) => userToWire(record, Date.now())),
    })),
    adminMethod(guard, AdminService.removeUser, async ({ name }, actor) => ({
      removed: await users.remove(name, actor),
    })),
  ];
}

function userToWire(record: UserRecord, nowMs: number): admin.User {
  const { name, groups, password, external, disabled } = record;
  const all = groupsOf({ ...record, disabled: false }, nowMs);
  return {
    name,
    groups: [...groups],
    hasPassword: password !== undefined,
    disabled,
    externalGroups: all.filter((group) => !groups.includes(group)),
    issuer: external?.issuer ?? '',
  };
}
