import type { Command } from 'commander';
import type { AdminFlags } from './admin-client.ts';

/** Where commands write; tests give their own. */
export interface Terminal {
  out(text: string): void;
  /** Explanations, on standard error: what is piped on stays clean. */
  note(text: string): void;
  readonly color: boolean;
}

/** For options that may be given several times. */
export function append(value: string, earlier: readonly string[] | undefined): readonly string[] {
  return [...(earlier ?? []), value];
}

/** Options of every command for administrators. */
export function withAdminOptions(command: Command): Command {
  return command
    .option(
      '--admin-dir <folder>',
      "credentials of the registry's administrator (default: the one below /var/lib/xylem)",
    )
    .option(
      '--registry <host:port>',
      'service address of a registry; several are tried in turn (default 127.0.0.1:7100)',
      append,
    );
}

/** Flags of a command for administrators, wherever they stand. */
export function adminFlags(command: Command): AdminFlags {
  return command.optsWithGlobals<AdminFlags>();
}
