import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '@xylem/service';
import type { ConfigInput, ConfigOutcome } from '@xylem/service';
import * as z from 'zod';

const VERSION = '0.1.0';

const schema = z.strictObject({
  check: z
    .boolean()
    .default(false)
    .describe('unattended: put real traffic and faults through it, print a summary, exit 0 or 1'),
  dir: z
    .string()
    .min(1)
    .optional()
    .describe('folder for all state (default .xylem/demo; with --check a temporary one)'),
  verbose: z.boolean().default(false).describe("show every service's log lines"),
});

export type DemoConfig = z.output<typeof schema>;

export function readConfig(input: ConfigInput): ConfigOutcome<DemoConfig> {
  return loadConfig(
    { service: 'npm start --', version: VERSION, summary: 'a whole Xylem deployment on this machine', schema },
    input,
  );
}

/** Programs of the machine that the demo uses where they are there. */
export interface HostTools {
  readonly sshd: string | undefined;
  readonly ssh: string | undefined;
  readonly sshKeygen: string | undefined;
}

/** sbin is not in every user's PATH, but that is where sshd lives. */
const EXTRA_FOLDERS = ['/usr/sbin', '/usr/local/sbin', '/sbin'];

export function findTools(): HostTools {
  const folders = [...(process.env['PATH'] ?? '').split(':'), ...EXTRA_FOLDERS];
  const find = (name: string): string | undefined => {
    // sshd insists on being started by its absolute path.
    return folders
      .filter((folder) => folder.startsWith('/'))
      .map((folder) => `${folder}/${name}`)
      .find(existsSync);
  };
  return { sshd: find('sshd'), ssh: find('ssh'), sshKeygen: find('ssh-keygen') };
}

/**
 * The environment for children: this one's without anything that configures Xylem itself, and with a folder where Node
 * keeps compiled code, which halves the time that a dozen processes take to start. Not in /tmp, where others can write.
 */
export function childEnvironment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('XYLEM_'));
  const cache = join(homedir(), '.cache', 'xylem', 'compile');
  return { NODE_COMPILE_CACHE: cache, ...Object.fromEntries(own) };
}
