import { Command, CommanderError } from 'commander';
import { withRegistry } from './admin-client.ts';
import { addAuthorityCommands, addJoinCommands } from './authority-commands.ts';
import { withRootProxy } from './client.ts';
import { verifyFiles } from './commands/audit.ts';
import { connectTo, readTarget } from './commands/connect.ts';
import { diagnoseAuthority } from './commands/doctor-authority.ts';
import { diagnose } from './commands/doctor.ts';
import type { Finding } from './commands/doctor.ts';
import { listNodes } from './commands/list.ts';
import { showStatus } from './commands/status.ts';
import { VERSION, loadClientConfig } from './config.ts';
import type { ConnectionFlags } from './config.ts';
import { CommandError, STATUS } from './exit.ts';
import { adminFlags, append, withAdminOptions } from './options.ts';
import type { Terminal } from './options.ts';
import { SERVICES } from './services.ts';
import { StdioDuplex } from './stdio.ts';
import { addUserCommands } from './user-commands.ts';

const DEFAULT_DOMAIN = 'xylem.internal';

const EXAMPLES = `
Examples
  ssh -o ProxyCommand='xylem connect %h:%p' web.berlin    an SSH session to node web of leaf cluster berlin
  xylem status                                            who holds which claim, what is missing and why
  xylem doctor                                            when something does not work

Defaults for --root and --identity-dir: ~/.config/xylem/client.yaml, which xylem login writes, or XYLEM_ROOT and XYLEM_IDENTITY_DIR.
Exit status: 0 done, 1 failed, 2 the command line or a file it names is wrong, 68 no such node or user,
  69 unavailable, 70 a bug, 75 try again later, 76 protocol error, 77 denied.`;

/** The command line of `xylem`. Actions reject with CommandErrors. */
export function createProgram(terminal: Terminal): Command {
  const program = withConnectionOptions(new Command('xylem'))
    .description('Reach servers behind firewalls.')
    .version(VERSION, '--version', 'print the version')
    .helpOption('-h, --help', 'print this')
    .helpCommand(false)
    .showSuggestionAfterError()
    .showHelpAfterError('Try: xylem --help')
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'xylem: ')) })
    .addHelpText('after', EXAMPLES)
    .exitOverride();
  addAccessCommands(program, terminal);
  addAuditCommands(program, terminal);
  for (const [name, description] of SERVICES) {
    program
      .command(name)
      .description(`${description} (xylem ${name} --help)`)
      .allowExcessArguments()
      .allowUnknownOption();
  }
  addJoinCommands(program, terminal);
  addAuthorityCommands(program, terminal);
  addUserCommands(program, terminal);
  return program;
}

/** Exit status of an error that came out of a command, and what to print on stderr; empty when commander did already. */
export function explain(error: unknown): { readonly status: number; readonly text: string } {
  if (error instanceof CommanderError) return { status: error.exitCode === 0 ? STATUS.ok : STATUS.usage, text: '' };
  if (error instanceof CommandError) return { status: error.status, text: `xylem: ${error.message}\n` };
  const isBug = !(error instanceof Error) || error instanceof TypeError || error instanceof ReferenceError;
  const text = error instanceof Error ? (isBug ? (error.stack ?? error.message) : error.message) : String(error);
  return { status: isBug ? STATUS.internal : STATUS.failed, text: `xylem: ${text}\n` };
}

function withConnectionOptions(command: Command): Command {
  return command
    .option('--root <host:port>', 'access address of a root proxy; several are tried in turn', append)
    .option('--identity-dir <folder>', 'ca.pem, cert.pem and key.pem')
    .option('--domain <name>', `trust domain (default ${DEFAULT_DOMAIN})`)
    .option('--timeout-ms <number>', 'deadline for connecting and for a dial (default 10000)')
    .option('--config <file>', 'settings (default ~/.config/xylem/client.yaml)');
}

function addAccessCommands(program: Command, terminal: Terminal): void {
  const command = (name: string, description: string): Command => {
    return withConnectionOptions(program.command(name)).description(description);
  };
  command('connect <node.leaf[:port]>', "carry standard input and output to a node, as for ssh's ProxyCommand").action(
    async (address: string, _: unknown, self: Command) => {
      const target = readTarget(address);
      await connectTo(loadClientConfig(flagsOf(self)), target, new StdioDuplex());
    },
  );
  command('status', 'show the agent x proxy matrix')
    .option('--json', 'as JSON')
    .action(async (options: { json?: boolean }, self: Command) => {
      const config = loadClientConfig(flagsOf(self));
      const json = options.json === true;
      terminal.out(
        await withRootProxy(config, (root) => showStatus(root, config.timeoutMs, { json, color: terminal.color })),
      );
    });
  command('ls [leaf]', 'list the nodes that can be dialled')
    .option('--json', 'as JSON')
    .action(async (leaf: string | undefined, options: { json?: boolean }, self: Command) => {
      const config = loadClientConfig(flagsOf(self));
      const json = options.json === true;
      terminal.out(
        await withRootProxy(config, (root) => listNodes(root, config.timeoutMs, { leaf: leaf ?? '', json })),
      );
    });
  withAdminOptions(command('doctor', 'check identity, root proxies and mesh, and say what to mend'))
    .addHelpText(
      'after',
      '\nWith --admin-dir it looks at what the registry knows instead: locks, overdue renewals, rotation.',
    )
    .action(async (_: unknown, self: Command) => {
      let failures = 0;
      const found = (finding: Finding): void => {
        if (finding.state === 'fail') failures += 1;
        terminal.out(findingLine(finding));
      };
      const admin = adminFlags(self);
      if (admin.adminDir === undefined) await diagnose(loadClientConfig(flagsOf(self)), Date.now(), found);
      else await withRegistry(admin, (registry) => diagnoseAuthority(registry, Date.now(), found));
      if (failures > 0) throw new CommandError(STATUS.failed, `${failures} of the checks failed`);
    });
}

function findingLine({ state, what, text }: Finding): string {
  return `${state.padEnd(4)}  ${what}: ${text}\n`;
}

/** Options count wherever they stand: before the command or after it; after it wins. */
function flagsOf(command: Command): ConnectionFlags {
  return { ...command.parent?.opts<ConnectionFlags>(), ...command.opts<ConnectionFlags>() };
}

function addAuditCommands(program: Command, terminal: Terminal): void {
  program
    .command('audit')
    .description('audit files of registries, root proxies and leaf agents')
    .helpCommand(false)
    .command('verify <file...>')
    .description('follow the chain of hashes through files of one service, oldest first')
    .option('--expect <chain>', 'a head that was noted earlier and must be met')
    .option('--json', 'as JSON')
    .action(async (files: readonly string[], options: { json?: boolean; expect?: string }) => {
      const { json = false, ...rest } = options;
      const { text, sound } = await verifyFiles(files, { json, ...rest });
      terminal.out(text);
      if (!sound) throw new CommandError(STATUS.failed, 'the audit lines are not as they were written');
    });
}
