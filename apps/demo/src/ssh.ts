import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { HostTools } from './config.ts';
import type { Files, PartFolder } from './files.ts';

const run = promisify(execFile);
const PRIVILEGE_SEPARATION_FOLDER = '/run/sshd';

/** A real sshd for one node: its own configuration, host key and user key, unprivileged port, current user only. */
export interface SshNode {
  readonly sshd: string;
  readonly configFile: string;
  readonly userKey: string;
  readonly hostKey: string;
}

/** undefined when OpenSSH's server is not installed. */
export async function prepareSshd(
  tools: HostTools,
  folder: PartFolder,
  files: Files,
  address: string,
): Promise<SshNode | undefined> {
  const { sshd, sshKeygen } = tools;
  if (sshd === undefined || sshKeygen === undefined) return undefined;
  // As root, sshd wants this folder, which only its service unit makes.
  if (process.getuid?.() === 0 && !existsSync(PRIVILEGE_SEPARATION_FOLDER)) {
    mkdirSync(PRIVILEGE_SEPARATION_FOLDER, { recursive: true, mode: 0o755 });
  }
  const hostKey = join(folder.path, 'host_key');
  const userKey = join(folder.path, 'user_key');
  for (const [path, comment] of [
    [hostKey, 'xylem-demo-node'],
    [userKey, 'xylem-demo-user'],
  ] as const) {
    if (!existsSync(path)) await run(sshKeygen, ['-q', '-t', 'ed25519', '-N', '', '-C', comment, '-f', path]);
  }
  const colon = address.lastIndexOf(':');
  const lines = [
    `ListenAddress ${address.slice(0, colon)}`,
    `Port ${address.slice(colon + 1)}`,
    `HostKey ${quoted(hostKey)}`,
    `AuthorizedKeysFile ${quoted(`${userKey}.pub`)}`,
    `AllowUsers ${userInfo().username}`,
    'PermitRootLogin prohibit-password',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'UsePAM no',
    // The folder is private, but it may lie below one that is not, such as /tmp.
    'StrictModes no',
    'PidFile none',
    'Subsystem sftp internal-sftp',
    '',
  ];
  const configFile = files.writeText(join('ssh', 'sshd_config'), lines.join('\n'));
  return { sshd, configFile, userKey, hostKey };
}

/** Writes ssh_config and known_hosts for `ssh -F <file> web.berlin`. */
export function writeSshClient(files: Files, node: SshNode, host: string, xylem: string): string {
  const [type = '', key = ''] = readFileSync(`${node.hostKey}.pub`, 'utf8').split(' ');
  const knownHosts = files.writeText(join('ssh', 'known_hosts'), `${host} ${type} ${key}\n`);
  const lines = [
    'Host *.berlin *.tokyo',
    `  User ${userInfo().username}`,
    `  IdentityFile ${quoted(node.userKey)}`,
    '  IdentitiesOnly yes',
    `  UserKnownHostsFile ${quoted(knownHosts)}`,
    '  StrictHostKeyChecking yes',
    '  ConnectTimeout 20',
    '  LogLevel ERROR',
    `  ProxyCommand ${quoted(xylem)} connect %h:%p`,
    '',
  ];
  return files.writeText('ssh_config', lines.join('\n'));
}

function quoted(path: string): string {
  return `"${path}"`;
}
