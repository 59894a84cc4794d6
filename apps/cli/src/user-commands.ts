import type { Command } from 'commander';
import { KeyFileError, logOut, readSecret } from '@xylem/identity';
import type { Secret } from '@xylem/identity';
import { withRegistry } from './admin-client.ts';
import type { Registry } from './admin-client.ts';
import { loginUser, readAccessToken } from './commands/login.ts';
import { checkPolicy, diffPolicy, getPolicy, policyHistory, setPolicy } from './commands/policy.ts';
import { fetchIdToken } from './commands/single-sign-on.ts';
import { addUser, listUsers, readUserName, removeUser, setDisabled } from './commands/users.ts';
import { configDirectory } from './config.ts';
import { CommandError, STATUS } from './exit.ts';
import { adminFlags, append, withAdminOptions } from './options.ts';
import type { Terminal } from './options.ts';
import { askSecret, askYes, canAsk } from './prompt.ts';
import { readTextFile } from './text-file.ts';

const DEFAULT_DOMAIN = 'xylem.internal';

/** Users, the policy, logging in and out. */
export function addUserCommands(program: Command, terminal: Terminal): void {
  addUsers(program, terminal);
  addPolicy(program, terminal);
  addLogin(program, terminal);
}

interface AddUserFlags {
  readonly group?: readonly string[];
  readonly passwordFile?: string;
  readonly password: boolean;
  readonly replace?: boolean;
}

function addUsers(program: Command, terminal: Terminal): void {
  const users = program.command('users').description('who may log in').helpCommand(false);
  withAdminOptions(users.command('add <name>'))
    .description('add a user; the password is asked for, or read from a file')
    .option('--group <name>', 'a group that the policy speaks of; may be given again', append)
    .option('--password-file <file>', 'file with the password, mode 0600; - for standard input')
    .option('--no-password', 'single sign-on only; with --replace: keep the password')
    .option('--replace', 'change a user who is there; without --group the groups stay')
    .action(async (name: string, options: AddUserFlags, self: Command) => {
      const known = readUserName(name);
      const { group: groups, replace = false } = options;
      const password = await newPassword(options, known, terminal);
      await show(terminal, self, (registry) => addUser(registry, { name: known, groups, password, replace }));
    });
  withAdminOptions(users.command('ls'))
    .description('list users')
    .option('--json', 'as JSON')
    .action(async (options: { json?: boolean }, self: Command) => {
      await show(terminal, self, (registry) => listUsers(registry, options.json === true));
    });
  withAdminOptions(users.command('rm <name>'))
    .description('remove a user; what the user has open is cut')
    .action(async (name: string, _: unknown, self: Command) => {
      await show(terminal, self, (registry) => removeUser(registry, readUserName(name)));
    });
  for (const [command, disabled] of [
    ['disable', true],
    ['enable', false],
  ] as const) {
    withAdminOptions(users.command(`${command} <name>`))
      .description(disabled ? 'lock a user out; what the user has open is cut' : 'let a user in again')
      .action(async (name: string, _: unknown, self: Command) => {
        await show(terminal, self, (registry) => setDisabled(registry, readUserName(name), disabled));
      });
  }
}

async function newPassword(
  { passwordFile, password }: AddUserFlags,
  name: string,
  terminal: Terminal,
): Promise<Secret<string> | undefined> {
  if (!password) {
    if (passwordFile === undefined) return undefined;
    throw new CommandError(STATUS.usage, '--password-file and --no-password exclude each other; leave one out');
  }
  if (passwordFile !== undefined) return secretFrom(passwordFile);
  if (!canAsk()) {
    throw new CommandError(
      STATUS.usage,
      'nobody is there to ask for the password; add --password-file or --no-password',
    );
  }
  const note = (text: string): void => terminal.note(text);
  const first = await askSecret(`password for ${name}`, note);
  const second = await askSecret('the same again', note);
  if (first.reveal() === second.reveal()) return first;
  throw new CommandError(STATUS.usage, 'the two differ; try again');
}

function addPolicy(program: Command, terminal: Terminal): void {
  const policy = program.command('policy').description('who may dial what').helpCommand(false);
  withAdminOptions(policy.command('get'))
    .description('print the policy in force, ready to be changed and set again')
    .option('--version-number <number>', 'an earlier one; see: xylem policy history', readVersion)
    .action(async ({ versionNumber = 0 }: { versionNumber?: number }, self: Command) => {
      await show(terminal, self, (registry) => getPolicy(registry, versionNumber));
    });
  withAdminOptions(policy.command('set <file>'))
    .description('put a policy in force; - for standard input')
    .option('--expect <version>', 'only if this is the version in force', readVersion)
    .option('--check', 'only say what is wrong or odd with it')
    .action(async (file: string, options: { expect?: number; check?: boolean }, self: Command) => {
      const text = readTextFile(file);
      const { expect: expected, check: checkOnly = false } = options;
      await show(terminal, self, (registry) => setPolicy(registry, { text, expected, checkOnly }));
    });
  withAdminOptions(policy.command('check <user> <node.leaf[:port]>'))
    .description('say whether a dial is allowed and why; status 77 when it is denied')
    .option('--group <name>', 'as if single sign-on had brought this group; may be given again', append)
    .option('--json', 'as JSON')
    .action(async (user: string, target: string, options: CheckFlags, self: Command) => {
      const { group: groups = [], json = false } = options;
      const asked = { user: readUserName(user), target, groups, json };
      const { text, allowed } = await withRegistry(adminFlags(self), (registry) => checkPolicy(registry, asked));
      terminal.out(text);
      if (!allowed) process.exitCode = STATUS.denied;
    });
  withAdminOptions(policy.command('diff <file>'))
    .description('show what a file would change; status 1 when it would')
    .action(async (file: string, _: unknown, self: Command) => {
      const text = readTextFile(file);
      const difference = await withRegistry(adminFlags(self), (registry) => diffPolicy(registry, text));
      terminal.out(difference);
      if (difference !== '') process.exitCode = STATUS.failed;
    });
  withAdminOptions(policy.command('history'))
    .description('list the policies that are kept')
    .option('--json', 'as JSON')
    .action(async (options: { json?: boolean }, self: Command) => {
      await show(terminal, self, (registry) => policyHistory(registry, options.json === true));
    });
}

interface CheckFlags {
  readonly group?: readonly string[];
  readonly json?: boolean;
}

interface LoginFlags {
  readonly root?: readonly string[];
  readonly access?: readonly string[];
  readonly user?: string;
  readonly oidc?: boolean;
  readonly browser: boolean;
  readonly pin?: string;
  readonly passwordFile?: string;
  readonly identityDir?: string;
  readonly domain?: string;
  readonly printToken?: boolean;
}

function addLogin(program: Command, terminal: Terminal): void {
  const note = (text: string): void => terminal.note(text);
  program
    .command('login')
    .description('get a certificate and an access token for yourself')
    .option(
      '--root <host:port>',
      'load balancer in front of root proxies (port 7200); several are tried in turn',
      append,
    )
    .option('--access <host:port>', 'access address for client.yaml (default: port 7202 of --root)', append)
    .option('--user <name>', 'log in with a password')
    .option('--oidc', 'log in with single sign-on')
    .option('--no-browser', 'only print the address to log in at')
    .option('--pin <pin>', 'sha256:..., as xylem users add prints it; needed for the first login only')
    .option('--password-file <file>', 'file with the password, mode 0600; - for standard input')
    .option('--identity-dir <folder>', 'where to keep it (default ~/.config/xylem)')
    .option('--domain <name>', `trust domain (default ${DEFAULT_DOMAIN})`)
    .option('--print-token', 'print the access token of the login there is, and nothing else')
    .action(async (_: unknown, self: Command) => {
      const flags = self.optsWithGlobals<LoginFlags>();
      const directory = flags.identityDir ?? configDirectory();
      if (flags.printToken === true) return terminal.out(readAccessToken(directory));
      if ((flags.user === undefined) === (flags.oidc !== true)) {
        throw new CommandError(STATUS.usage, 'how to log in: either --user NAME or --oidc');
      }
      const user = flags.user === undefined ? undefined : readUserName(flags.user);
      const { root = [], access, pin, domain = DEFAULT_DOMAIN, browser } = flags;
      const done = await loginUser(
        { root, access, user, pin, directory, domain },
        {
          note,
          password: () => ownPassword(flags, user ?? '', note),
          idToken: (ways, nonce) => fetchIdToken({ ways, nonce, note, browser }),
          confirmPin: canAsk() ? () => askYes('is it the one that an administrator told you?', note) : undefined,
        },
      );
      terminal.note(done);
    });
  program
    .command('logout')
    .description('forget certificate, key and access token')
    .option('--identity-dir <folder>', 'where they are (default ~/.config/xylem)')
    .action((_: unknown, self: Command) => {
      const directory = self.optsWithGlobals<LoginFlags>().identityDir ?? configDirectory();
      terminal.note(logOut(directory) ? `logged out; ${directory} holds no key any more\n` : 'nobody was logged in\n');
    });
}

async function ownPassword(
  { passwordFile }: LoginFlags,
  user: string,
  note: (text: string) => void,
): Promise<Secret<string>> {
  if (passwordFile !== undefined) return secretFrom(passwordFile);
  if (canAsk()) return askSecret(`password of ${user}`, note);
  throw new CommandError(STATUS.usage, 'nobody is there to ask for the password; add --password-file');
}

async function secretFrom(source: string): Promise<Secret<string>> {
  return readSecret(source, 'password').catch((error: unknown) => {
    throw error instanceof KeyFileError ? new CommandError(STATUS.usage, error.message, { cause: error }) : error;
  });
}

function readVersion(text: string): number {
  if (/^[0-9]{1,15}$/.test(text)) return Number(text);
  throw new CommandError(STATUS.usage, `${JSON.stringify(text)} is not a version; see: xylem policy history`);
}

async function show(terminal: Terminal, self: Command, run: (registry: Registry) => Promise<string>): Promise<void> {
  terminal.out(await withRegistry(adminFlags(self), run));
}
