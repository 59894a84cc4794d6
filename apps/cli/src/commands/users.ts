import { isUserName } from '@xylem/identity';
import type { Secret } from '@xylem/identity';
import { printable, table } from '@xylem/matrix';
import { AdminService } from '@xylem/wire';
import type { admin } from '@xylem/wire';
import type { Registry } from '../admin-client.ts';
import { CommandError, STATUS } from '../exit.ts';

export interface AddUserOptions {
  readonly name: string;
  /** undefined with `replace`: those there are. */
  readonly groups: readonly string[] | undefined;
  /** undefined: single sign-on only, or the one there is. */
  readonly password: Secret<string> | undefined;
  readonly replace: boolean;
}

/** Throws a CommandError with the remedy. */
export function readUserName(text: string): string {
  if (isUserName(text)) return text;
  throw new CommandError(STATUS.usage, `${JSON.stringify(text)} is not a user name; use 1 to 128 of a-z 0-9 . _ @ -`);
}

/** The text of `xylem users add`: what the new user needs for the first login. */
export async function addUser({ channel, deadlineMs }: Registry, options: AddUserOptions): Promise<string> {
  const { name, groups, password, replace } = options;
  const request: admin.PutUserRequest = {
    name,
    groups: [...(groups ?? [])],
    keepGroups: replace && groups === undefined,
    password: password?.reveal() ?? '',
    disabled: false,
    replace,
  };
  const { pin } = await channel.unary(AdminService.putUser, request, deadlineMs);
  const how = password === undefined && !replace ? '--oidc' : `--user ${name}`;
  const pinned = pin === '' ? '' : ` --pin ${printable(pin)}`;
  return `user ${name} is ${replace ? 'changed' : 'added'}; for the first login:\n  xylem login --root <load balancer>:7200 ${how}${pinned}\n`;
}

/** The text of `xylem users ls`. */
export async function listUsers({ channel, deadlineMs }: Registry, json: boolean): Promise<string> {
  const { users } = await channel.unary(AdminService.listUsers, {}, deadlineMs);
  if (json) return usersJson(users);
  if (users.length === 0) return 'there are no users; add one: xylem users add <name>\n';
  const rows = users.map((user) => {
    const groups = [...user.groups, ...user.externalGroups.map((group) => `${group} (single sign-on)`)];
    const ways = [user.hasPassword ? 'password' : '', user.issuer].filter((way) => way !== '');
    return [user.name, user.disabled ? 'disabled' : 'active', groups.join(', ') || '-', ways.join(', ') || '-'].map(
      printable,
    );
  });
  return `${table([['USER', 'STATE', 'GROUPS', 'LOGS IN WITH'], ...rows]).join('\n')}\n`;
}

function usersJson(users: readonly admin.User[]): string {
  const shown = users.map(({ name, groups, hasPassword, disabled, externalGroups, issuer }) => {
    return { name, groups, hasPassword, disabled, externalGroups, issuer };
  });
  return `${JSON.stringify({ users: shown }, null, 2)}\n`;
}

/** The text of `xylem users rm`. */
export async function removeUser({ channel, deadlineMs }: Registry, name: string): Promise<string> {
  const { removed } = await channel.unary(AdminService.removeUser, { name }, deadlineMs);
  if (!removed) throw new CommandError(STATUS.noHost, `there is no user ${name}; see: xylem users ls`);
  return `user ${name} is removed: connections are cut, certificate and access token count no longer\n`;
}

/** The text of `xylem users disable` and `enable`. */
export async function setDisabled({ channel, deadlineMs }: Registry, name: string, disabled: boolean): Promise<string> {
  const { users } = await channel.unary(AdminService.listUsers, {}, deadlineMs);
  if (!users.some((user) => user.name === name)) {
    throw new CommandError(STATUS.noHost, `there is no user ${name}; see: xylem users ls`);
  }
  const request = { name, groups: [], keepGroups: true, password: '', disabled, replace: true };
  await channel.unary(AdminService.putUser, request, deadlineMs);
  return disabled
    ? `user ${name} is disabled: connections are cut, certificate and access token count no longer\n`
    : `user ${name} may log in again\n`;
}
