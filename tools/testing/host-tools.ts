import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** A program that tests use, and the Debian and Homebrew packages that bring it. */
interface HostTool {
  readonly command: string;
  readonly debian: readonly string[];
  readonly brew: string;
}

export const HOST_TOOLS: readonly HostTool[] = [
  { command: 'etcd', debian: ['etcd-server'], brew: 'etcd' },
  { command: 'etcdctl', debian: ['etcd-client'], brew: 'etcd' },
  { command: 'haproxy', debian: ['haproxy'], brew: 'haproxy' },
  { command: 'sshd', debian: ['openssh-server'], brew: 'openssh' },
  { command: 'ssh', debian: ['openssh-client'], brew: 'openssh' },
  { command: 'curl', debian: ['curl'], brew: 'curl' },
  { command: 'iperf3', debian: ['iperf3'], brew: 'iperf3' },
  { command: 'spin', debian: ['spin'], brew: 'spin' },
  { command: 'gcc', debian: ['gcc', 'libc6-dev'], brew: 'gcc' },
];

/** Where packages put servers that are not in everybody's PATH. */
const USUAL_FOLDERS = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
  '/opt/homebrew/bin',
];

/** Installs without starting a service: Debian's maintainer scripts ask policy-rc.d first (deb-systemd-invoke(1p), invoke-rc.d(8)). */
const APT_SCRIPT = `
set -e
guard=/usr/sbin/policy-rc.d
if [ ! -e "$guard" ]; then
  trap 'rm -f "$guard"' EXIT
  trap 'exit 130' INT TERM HUP
  printf '#!/bin/sh\\nexit 101\\n' > "$guard"
  chmod 755 "$guard"
fi
# apt's own user has to write there too, which it may not in everybody's TMPDIR.
export DEBIAN_FRONTEND=noninteractive TMPDIR=/var/tmp
apt-get -q update
apt-get -q install -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"
`;
const APT_DEADLINE_MS = 10 * 60_000;

export type HostToolsOutcome = { readonly kind: 'present' } | { readonly kind: 'missing'; readonly sentence: string };

/** PATH with the usual folders of servers behind it. */
export function searchPath(path: string): string {
  const folders = path.split(delimiter).filter((folder) => folder !== '');
  return [...folders, ...USUAL_FOLDERS.filter((folder) => !folders.includes(folder))].join(delimiter);
}

/** The tools of `tools` that are in no folder of `path`. */
export function missingTools(path: string, tools: readonly HostTool[] = HOST_TOOLS): readonly HostTool[] {
  return tools.filter(({ command }) => !path.split(delimiter).some((folder) => isExecutable(join(folder, command))));
}

/** Finds the servers that tests need, or installs them where apt-get may be used without asking anybody. */
export function ensureHostTools(path: string, say: (sentence: string) => void): HostToolsOutcome {
  const missing = missingTools(path);
  if (missing.length === 0) return { kind: 'present' };
  const packages = uniqueSorted(missing.flatMap((tool) => tool.debian));
  const apt = aptCommand(path);
  if (apt !== undefined) {
    say(`Tests need ${packages.join(', ')}: installing with apt-get (no service is started).`);
    const result = spawnSync(apt[0], [...apt.slice(1), 'sh', '-c', APT_SCRIPT, 'sh', ...packages], {
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
      timeout: APT_DEADLINE_MS,
    });
    if (result.status !== 0) process.stderr.write(`${result.stdout}${result.stderr}`);
  }
  const still = missingTools(path);
  return still.length === 0 ? { kind: 'present' } : { kind: 'missing', sentence: whatToInstall(still) };
}

/** One sentence with the command that brings `tools`. */
export function whatToInstall(tools: readonly HostTool[]): string {
  const commands = tools.map((tool) => tool.command).join(', ');
  const install =
    process.platform === 'darwin'
      ? `brew install ${uniqueSorted(tools.map((tool) => tool.brew)).join(' ')}`
      : `sudo apt-get install --no-install-recommends ${uniqueSorted(tools.flatMap((tool) => tool.debian)).join(' ')}`;
  return `Tests need ${commands}: install with \`${install}\` and start again.`;
}

/** How to run a command as root without being asked for a password; undefined where that, or apt-get, is not there. */
function aptCommand(path: string): readonly [string, ...string[]] | undefined {
  const apt: HostTool = { command: 'apt-get', debian: ['apt'], brew: '' };
  if (missingTools(path, [apt]).length > 0) return undefined;
  if (process.getuid?.() === 0) return ['env'];
  const sudo = spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' });
  return sudo.status === 0 ? ['sudo', '-n'] : undefined;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function uniqueSorted(names: readonly string[]): readonly string[] {
  return [...new Set(names)].sort();
}
