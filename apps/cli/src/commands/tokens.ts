import { isName, isProxyName } from '@xylem/identity';
import { duration, printable, table } from '@xylem/matrix';
import { AdminService, admin } from '@xylem/wire';
import type { Registry } from '../admin-client.ts';
import { CommandError, STATUS } from '../exit.ts';
import { readLifetime } from '../lifetime.ts';

export interface AddTokenOptions {
  readonly role: string;
  /** For agents. */
  readonly leaf?: string;
  readonly name?: string;
  readonly ttl: string;
  readonly sources: readonly string[];
}

/** A token that was made: the secret itself, and what a person should know about it. */
export interface AddedToken {
  readonly token: string;
  readonly fingerprint: string;
  readonly expiresAtMs: number;
  readonly explanation: string;
}

const ROLES: ReadonlyMap<string, admin.Role> = new Map([
  ['agent', admin.Role.ROLE_AGENT],
  ['proxy', admin.Role.ROLE_PROXY],
  ['registry', admin.Role.ROLE_REGISTRY],
]);

const JOIN_COMMANDS: Readonly<Record<string, string>> = {
  agent: 'xylem agent join --token-file - --root <load balancer>:7200',
  proxy: 'xylem root-proxy join --token-file - --registry <registry>:7101',
  registry: 'xylem registry join --token-file - --registry <registry>:7101',
};

/** What the command line asks for, as a request. Throws a CommandError with the remedy. */
export function tokenRequest({ role, leaf, name, ttl, sources }: AddTokenOptions): admin.AddTokenRequest {
  const usage = (text: string): CommandError => new CommandError(STATUS.usage, text);
  const code = ROLES.get(role);
  if (code === undefined) throw usage(`${JSON.stringify(role)} is not a role; use agent, proxy or registry`);
  if (role === 'agent' && leaf === undefined)
    throw usage('a token for an agent is for one leaf cluster; add --leaf <name>');
  if (role !== 'agent' && leaf !== undefined) throw usage('--leaf is for tokens of agents; leave out --leaf or --role');
  for (const [what, text] of [
    ['--leaf', leaf],
    ['--name', name],
  ] as const) {
    if (text === undefined || isName(text)) continue;
    throw usage(`${what} ${JSON.stringify(text)} is not a name; use 1 to 63 of a-z 0-9 -, with no - at the ends`);
  }
  if (role === 'proxy' && name !== undefined && !isProxyName(name)) {
    throw usage(`--name ${JSON.stringify(name)} is a server name of the registries; choose another for a root proxy`);
  }
  const ttlSeconds = Math.ceil(readLifetime(ttl) / 1_000);
  return { role: code, leaf: leaf ?? '', name: name ?? '', ttlSeconds, sources: [...sources] };
}

export async function addToken({ channel, deadlineMs }: Registry, request: admin.AddTokenRequest): Promise<AddedToken> {
  const made = await channel.unary(AdminService.addToken, request, deadlineMs);
  const expiresAtMs = Number(made.expiresAtMs);
  const role = roleName(request.role);
  const whom = request.leaf === '' ? `a ${role}` : `an agent of leaf cluster ${request.leaf}`;
  const named = request.name === '' ? '' : ` named ${request.name}`;
  const until = new Date(expiresAtMs).toISOString();
  const explanation = `token ${printable(made.fingerprint)} lets ${whom}${named} join once, until ${until}; where it runs: ${JOIN_COMMANDS[role] ?? ''}\n`;
  return { token: printable(made.token), fingerprint: made.fingerprint, expiresAtMs, explanation };
}

/** The text of `xylem tokens ls`: those that can still be used. */
export async function listTokens({ channel, deadlineMs }: Registry, json: boolean, now: number): Promise<string> {
  const { tokens } = await channel.unary(AdminService.listTokens, {}, deadlineMs);
  if (json) {
    const shown = tokens.map((token) => ({ ...shownToken(token), expiresAt: endOf(token).toISOString() }));
    return `${JSON.stringify({ tokens: shown }, null, 2)}\n`;
  }
  if (tokens.length === 0) return 'no tokens are waiting to be used\n';
  const rows = tokens.map((token) => {
    const { fingerprint, role, leaf, name, createdBy, sources } = shownToken(token);
    const end = duration(Math.max(0, endOf(token).getTime() - now));
    return [fingerprint, role, leaf || '-', name || 'any', end, sources.join(' ') || 'any', createdBy].map(printable);
  });
  return `${table([['TOKEN', 'ROLE', 'LEAF', 'NAME', 'ENDS IN', 'FROM', 'MADE BY'], ...rows]).join('\n')}\n`;
}

export async function removeToken({ channel, deadlineMs }: Registry, fingerprint: string): Promise<string> {
  const { removed } = await channel.unary(AdminService.removeToken, { fingerprint }, deadlineMs);
  if (removed) return `token ${printable(fingerprint)} is gone\n`;
  throw new CommandError(STATUS.noHost, `no token ${printable(fingerprint)}; see: xylem tokens ls`);
}

function shownToken({ fingerprint, role, leaf, name, createdBy, sources }: admin.Token) {
  return { fingerprint, role: roleName(role), leaf, name, createdBy, sources };
}

function roleName(role: admin.Role): string {
  return [...ROLES].find(([, code]) => code === role)?.[0] ?? 'unknown';
}

function endOf({ expiresAtMs }: admin.Token): Date {
  return new Date(Number(expiresAtMs));
}
