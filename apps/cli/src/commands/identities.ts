import { duration, printable, table } from '@xylem/matrix';
import { AdminService } from '@xylem/wire';
import type { Registry } from '../admin-client.ts';
import { CommandError, STATUS } from '../exit.ts';

const IDENTITY =
  /^(?:leaf\/[a-z0-9-]{1,63}\/agent\/[a-z0-9-]{1,63}|(?:proxy|registry)\/[a-z0-9-]{1,63}|user\/[a-z0-9._@-]{1,128})$/;

/** The text of `xylem identities ls`: who has joined or logged in, and what became of it. */
export async function listIdentities({ channel, deadlineMs }: Registry, json: boolean, now: number): Promise<string> {
  const { identities } = await channel.unary(AdminService.listIdentities, {}, deadlineMs);
  if (json) {
    const shown = identities.map(({ identity, generation, issuedAtMs, notAfterMs, state, detail }) => ({
      identity,
      generation: Number(generation),
      issuedAt: new Date(Number(issuedAtMs)).toISOString(),
      notAfter: new Date(Number(notAfterMs)).toISOString(),
      state,
      detail,
    }));
    return `${JSON.stringify({ identities: shown }, null, 2)}\n`;
  }
  if (identities.length === 0) return 'nobody has joined\n';
  const rows = identities.map(({ identity, generation, notAfterMs, state, detail }) => {
    const left = Number(notAfterMs) - now;
    const end = left < 0 ? `ended ${duration(-left)} ago` : `ends in ${duration(left)}`;
    return [identity, state, String(generation), end, detail].map(printable);
  });
  return `${table([['IDENTITY', 'STATE', 'GENERATION', 'CERTIFICATE', ''], ...rows]).join('\n')}\n`;
}

export async function revokeIdentity(
  { channel, deadlineMs }: Registry,
  identity: string,
  reason: string,
): Promise<string> {
  await channel.unary(AdminService.revoke, { identity, reason }, deadlineMs);
  return `${identity} is revoked: its connections are cut, and it gets no other certificate until: xylem identities unlock ${identity}\n`;
}

export async function unlockIdentity({ channel, deadlineMs }: Registry, identity: string): Promise<string> {
  const { unlocked } = await channel.unary(AdminService.unlock, { identity }, deadlineMs);
  if (!unlocked)
    throw new CommandError(STATUS.noHost, `${identity} is neither locked nor revoked; see: xylem identities ls`);
  const next = identity.startsWith('user/')
    ? 'log in again'
    : `join again, with a token that names it: ${tokenCommand(identity)}`;
  return `${identity} may ${next}\n`;
}

function tokenCommand(identity: string): string {
  const [kind, first = '', , last = ''] = identity.split('/');
  return kind === 'leaf'
    ? `xylem tokens add --leaf ${first} --name ${last}`
    : `xylem tokens add --role ${kind ?? ''} --name ${first}`;
}

/** As in certificates, without the domain. Throws a CommandError for anything else. */
export function readIdentity(identity: string): string {
  if (IDENTITY.test(identity)) return identity;
  const remedy = 'write leaf/berlin/agent/a1, proxy/p1, registry/r1 or user/alice';
  throw new CommandError(STATUS.usage, `${JSON.stringify(identity)} is not an identity; ${remedy}`);
}
