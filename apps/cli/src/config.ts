import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { address, domainName, durationMs, loadConfig } from '@xylem/service';
import * as z from 'zod';
import { CommandError, STATUS } from './exit.ts';

export const VERSION = '0.1.0';

/** Options that every command which talks to a root proxy has. */
export interface ConnectionFlags {
  readonly config?: string;
  readonly root?: readonly string[];
  readonly identityDir?: string;
  readonly domain?: string;
  readonly timeoutMs?: string;
}

const ROOT_LIMIT = 16;
const CONNECT_TIMEOUT_MS = 10_000;

const schema = z.strictObject({
  root: z
    .array(address({ example: 'root.example:7202' }))
    .min(1)
    .max(ROOT_LIMIT)
    .describe('access addresses of root proxies, tried in turn'),
  identityDir: z.string().min(1).optional().describe('folder with ca.pem, cert.pem and key.pem'),
  domain: domainName().default('xylem.internal').describe('trust domain of the root cluster'),
  timeoutMs: durationMs({ max: 600_000 })
    .default(CONNECT_TIMEOUT_MS)
    .describe('deadline for reaching a root proxy and for a dial'),
});

/** How to reach the root cluster, and as whom. */
export interface ClientConfig {
  readonly root: readonly string[];
  readonly domain: string;
  readonly timeoutMs: number;
  readonly identityDir: string;
}

/** `$XDG_CONFIG_HOME/xylem`, by default `~/.config/xylem`. */
export function configDirectory(): string {
  const base = process.env['XDG_CONFIG_HOME'];
  return join(base === undefined || base === '' ? join(homedir(), '.config') : base, 'xylem');
}

/**
 * Settings from client.yaml (or --config), then XYLEM_*, then flags. Throws a CommandError that lists every problem.
 * `identityDir` defaults to the folder of client.yaml.
 */
export function loadClientConfig(flags: ConnectionFlags): ClientConfig {
  const folder = configDirectory();
  const standard = join(folder, 'client.yaml');
  const file = flags.config ?? process.env['XYLEM_CONFIG'] ?? (existsSync(standard) ? standard : undefined);
  const outcome = loadConfig(
    { service: 'xylem', version: VERSION, summary: 'client', schema },
    { argv: toArguments(flags, file), env: process.env },
  );
  switch (outcome.kind) {
    case 'loaded':
      return { ...outcome.config, identityDir: outcome.config.identityDir ?? folder };
    case 'invalid':
      throw new CommandError(
        STATUS.usage,
        `${outcome.text.replace(/^xylem: /, '').trimEnd()}\n${file === undefined ? `There is no ${standard} yet: xylem login writes it.` : `Settings come from ${file}.`}`,
      );
    case 'shown':
      throw new CommandError(STATUS.usage, outcome.text);
  }
}

function toArguments(flags: ConnectionFlags, file: string | undefined): string[] {
  return [
    ...(file === undefined ? [] : [`--config=${file}`]),
    ...(flags.root ?? []).map((value) => `--root=${value}`),
    ...(flags.identityDir === undefined ? [] : [`--identity-dir=${flags.identityDir}`]),
    ...(flags.domain === undefined ? [] : [`--domain=${flags.domain}`]),
    ...(flags.timeoutMs === undefined ? [] : [`--timeout-ms=${flags.timeoutMs}`]),
  ];
}

/** What the environment says about administering a registry: XYLEM_ADMIN_DIR, and XYLEM_REGISTRY with commas between. */
export function adminEnvironment(): {
  readonly adminDir: string | undefined;
  readonly registries: readonly string[] | undefined;
} {
  return { adminDir: process.env['XYLEM_ADMIN_DIR'], registries: process.env['XYLEM_REGISTRY']?.split(',') };
}
