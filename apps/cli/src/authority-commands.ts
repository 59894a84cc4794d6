import type { Command } from 'commander';
import { withRegistry } from './admin-client.ts';
import type { Registry } from './admin-client.ts';
import { rotateAuthority, showAuthority } from './commands/authority.ts';
import { listIdentities, readIdentity, revokeIdentity, unlockIdentity } from './commands/identities.ts';
import { joinCluster } from './commands/join.ts';
import { addToken, listTokens, removeToken, tokenRequest } from './commands/tokens.ts';
import { CommandError, STATUS } from './exit.ts';
import { adminFlags, append, withAdminOptions } from './options.ts';
import type { Terminal } from './options.ts';

const DEFAULT_DOMAIN = 'xylem.internal';
const TOKEN_TTL = '10m';

interface JoinFlags {
  readonly tokenFile: string;
  readonly root?: readonly string[];
  readonly registry?: readonly string[];
  readonly agent?: string;
  readonly name?: string;
  readonly identityDir?: string;
  readonly domain?: string;
}

/** `join` of each service. The names of registries and root proxies start them, too: see isJoin. */
export function addJoinCommands(program: Command, terminal: Terminal): void {
  const join_ = (parent: Command, description: string): Command =>
    parent
      .command('join')
      .description(description)
      .requiredOption('--token-file <file>', 'file with the join token, mode 0600; - for standard input')
      .option('--domain <name>', `trust domain (default ${DEFAULT_DOMAIN})`);
  // Options that the program has, too, are the program's, wherever they stand.
  const flagsOf = (self: Command): JoinFlags => self.optsWithGlobals<JoinFlags>();
  join_(
    program.command('agent').description('join as a leaf agent').helpCommand(false),
    'exchange a token for an identity',
  )
    .option('--root <host:port>', 'load balancer in front of root proxies; several are tried in turn', append)
    .option('--agent <name>', "name of the agent (default: the host's name)")
    .option('--identity-dir <folder>', 'where to keep the identity (default /var/lib/xylem/<agent>)')
    .action(async (_: unknown, self: Command) => {
      const { tokenFile, agent: name, identityDir: directory, root: addresses = [], ...flags } = flagsOf(self);
      if (addresses.length === 0) {
        throw new CommandError(STATUS.usage, 'where to join is missing; add --root <load balancer>:7200');
      }
      await run({ role: 'agent', tokenFile, addresses, name, directory, domain: flags.domain });
    });
  join_(service(program, 'root-proxy'), 'exchange a token for an identity')
    .requiredOption('--registry <host:port>', 'where a registry enrols (port 7101); several are tried in turn', append)
    .option('--name <name>', "name of the root proxy (default: the host's name)")
    .option('--identity-dir <folder>', 'where to keep the identity (default /var/lib/xylem/<name>)')
    .action(async (_: unknown, self: Command) => {
      const { tokenFile, registry, name, identityDir: directory, ...flags } = flagsOf(self);
      await run({ role: 'proxy', tokenFile, addresses: registry ?? [], name, directory, domain: flags.domain });
    });
  join_(service(program, 'registry'), 'exchange a token for an identity, as a further registry')
    .requiredOption('--registry <host:port>', 'where another registry enrols (port 7101)', append)
    .option('--name <name>', "name of the registry (default: the host's name)")
    .option('--identity-dir <folder>', 'where to keep the identity (default /var/lib/xylem/<name>/identity)')
    .action(async (_: unknown, self: Command) => {
      const { tokenFile, registry, name, identityDir: directory, ...flags } = flagsOf(self);
      await run({ role: 'registry', tokenFile, addresses: registry ?? [], name, directory, domain: flags.domain });
    });

  async function run(flags: {
    readonly role: 'agent' | 'proxy' | 'registry';
    readonly tokenFile: string;
    readonly addresses: readonly string[];
    readonly domain: string | undefined;
    readonly name: string | undefined;
    readonly directory: string | undefined;
  }): Promise<void> {
    const { name, directory, domain = DEFAULT_DOMAIN, ...rest } = flags;
    const chosen = {
      ...(name === undefined ? {} : { name }),
      ...(directory === undefined ? {} : { directory }),
    };
    terminal.out(await joinCluster({ ...rest, domain, ...chosen }, (text) => terminal.note(text)));
  }
}

/** `xylem registry join` is ours; any other `xylem registry ...` is the service's. */
export function isJoin(args: readonly string[]): boolean {
  return args[0] === 'join';
}

function service(program: Command, name: string): Command {
  const found = program.commands.find((command) => command.name() === name);
  if (found === undefined) throw new Error(`assertion failed: no command ${name}`);
  return found;
}

/** Tokens, identities and the certificate authority. */
export function addAuthorityCommands(program: Command, terminal: Terminal): void {
  addTokenCommands(program, terminal);
  addIdentityCommands(program, terminal);
  addCaCommands(program, terminal);
}

function addTokenCommands(program: Command, terminal: Terminal): void {
  const tokens = group(program, 'tokens', 'join tokens');
  withAdminOptions(tokens.command('add'))
    .description(
      'make a token that lets one agent, root proxy or registry join; it is printed alone on standard output',
    )
    .option('--leaf <name>', 'leaf cluster of the agent')
    .option('--role <role>', 'agent, proxy or registry', 'agent')
    .option('--name <name>', 'only for this name; needed to replace an identity that is alive')
    .option('--ttl <lifetime>', 'for example 10m or 2h, at most 24h', TOKEN_TTL)
    .option('--source <cidr>', 'only from this address or network; may be given again', append)
    .option('--json', 'as JSON, the token included')
    .action(async (options: TokenFlags, self: Command) => {
      const { source: sources = [], json, ...rest } = options;
      const request = tokenRequest({ ...rest, sources });
      const added = await withRegistry(adminFlags(self), (registry) => addToken(registry, request));
      const { token, fingerprint, expiresAtMs, explanation } = added;
      if (json === true) {
        const expiresAt = new Date(expiresAtMs).toISOString();
        return terminal.out(`${JSON.stringify({ token, fingerprint, expiresAt }, null, 2)}\n`);
      }
      terminal.out(`${token}\n`);
      terminal.note(explanation);
    });
  withAdminOptions(tokens.command('ls'))
    .description('list the tokens that were not used yet')
    .option('--json', 'as JSON')
    .action(async (options: { json?: boolean }, self: Command) => {
      await show(terminal, self, (registry) => listTokens(registry, options.json === true, Date.now()));
    });
  withAdminOptions(tokens.command('rm <token>'))
    .description('take a token back, by its fingerprint')
    .action(async (fingerprint: string, _: unknown, self: Command) => {
      await show(terminal, self, (registry) => removeToken(registry, fingerprint));
    });
}

interface TokenFlags {
  readonly role: string;
  readonly leaf?: string;
  readonly name?: string;
  readonly ttl: string;
  readonly source?: readonly string[];
  readonly json?: boolean;
}

function addIdentityCommands(program: Command, terminal: Terminal): void {
  const identities = group(program, 'identities', 'who has joined or logged in');
  withAdminOptions(identities.command('ls'))
    .description('list identities, with generation, end and locks')
    .option('--json', 'as JSON')
    .action(async (options: { json?: boolean }, self: Command) => {
      await show(terminal, self, (registry) => listIdentities(registry, options.json === true, Date.now()));
    });
  withAdminOptions(identities.command('revoke <identity>'))
    .description('cut off leaf/berlin/agent/a1, proxy/p1, registry/r1 or user/alice, now')
    .option('--reason <text>', 'for the audit log and the lists', '')
    .action(async (identity: string, { reason }: { reason: string }, self: Command) => {
      const known = readIdentity(identity);
      await show(terminal, self, (registry) => revokeIdentity(registry, known, reason));
    });
  withAdminOptions(identities.command('unlock <identity>'))
    .description('take a lock or revocation back; the identity joins or logs in again')
    .action(async (identity: string, _: unknown, self: Command) => {
      const known = readIdentity(identity);
      await show(terminal, self, (registry) => unlockIdentity(registry, known));
    });
}

function addCaCommands(program: Command, terminal: Terminal): void {
  const ca = group(program, 'ca', 'the certificate authority');
  withAdminOptions(ca.command('status'))
    .description('phase, roots, and who is behind')
    .option('--json', 'as JSON')
    .action(async (options: { json?: boolean }, self: Command) => {
      await show(terminal, self, (registry) => showAuthority(registry, options.json === true, Date.now()));
    });
  withAdminOptions(ca.command('rotate'))
    .description('one step forward in replacing the root; four steps are a whole rotation')
    .option('--force', 'although identities are behind and will be cut off')
    .action(async (options: { force?: boolean }, self: Command) => {
      await show(terminal, self, (registry) => rotateAuthority(registry, 'forward', options.force === true));
    });
  withAdminOptions(ca.command('rollback'))
    .description('one step back, at any time before the old root is gone')
    .action(async (_: unknown, self: Command) => {
      await show(terminal, self, (registry) => rotateAuthority(registry, 'back', false));
    });
}

function group(program: Command, name: string, description: string): Command {
  return program.command(name).description(description).helpCommand(false);
}

async function show(terminal: Terminal, self: Command, run: (registry: Registry) => Promise<string>): Promise<void> {
  terminal.out(await withRegistry(adminFlags(self), run));
}
