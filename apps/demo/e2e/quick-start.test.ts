/**
 * The deployment of the README, typed as it stands there: from an empty etcd to `ssh` through. It runs in namespaces of its own, so
 * that its ports and /var/lib are nobody's; only prompts are answered by files, and the pin is copied from where it was printed.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { childEnvironment, findTools } from '../src/config.ts';
import { REPOSITORY, XYLEM_BIN } from '../src/paths.ts';

const LIMIT_MS = 120_000;
const UNSHARE = ['--net', '--mount', '--pid', '--fork', '--kill-child'];

/** Waits until a pattern is in a log. */
const HELPERS = `
await() { for i in $(seq 300); do grep -qs "$1" "$2" && return; sleep 0.1; done; echo "no $1 in $2" >&2; tail -n 5 "$2" >&2; exit 1; }

`;

/** Why it cannot be run here; false where it can. */
function obstacle(): string | false {
  const { sshd, ssh, sshKeygen } = findTools();
  if (sshd === undefined || ssh === undefined || sshKeygen === undefined) return 'OpenSSH is not installed';
  if (userInfo().uid !== 0) return 'sshd takes a login from root only, and namespaces want root';
  try {
    execFileSync('unshare', [...UNSHARE, 'true'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'namespaces cannot be made here';
  }
}

/** The commands of the README, each a whole one. */
function commands(): readonly string[] {
  const readme = readFileSync(join(REPOSITORY, 'README.md'), 'utf8');
  const block = /## A real deployment in ten lines[^]*?```sh\n([^]*?)```/.exec(readme)?.[1] ?? '';
  return block.replaceAll('\\\n', ' ').trim().split('\n');
}

/** What a person does between the lines, and where a prompt would ask. */
function typed(command: string): string {
  const [line = ''] = command.split(/ {3,}#/);
  const inBackground = (log: string): string => line.replace(/ &( done)?$/, ` > "$OUT/${log}.log" 2>&1 &$1`);
  if (line.startsWith('xylem registry')) return `${inBackground('r1')}\nawait service.started "$OUT/r1.log"`;
  if (line.startsWith('for p in')) {
    return `${inBackground('$p')}\nfor p in 1 2; do await registry.connected "$OUT/$p.log"; done`;
  }
  if (line.startsWith('xylem leaf-agent')) return `${inBackground('a1')}\nawait mesh_completed "$OUT/a1.log"`;
  if (line.startsWith('xylem users add')) return `${line} --password-file "$OUT/password" | tee "$OUT/added"`;
  if (line.startsWith('xylem login')) {
    const pin = '$(grep -o "sha256:[0-9a-f]*" "$OUT/added")';
    return `${line.replace('sha256:...', pin)} --password-file "$OUT/password"`;
  }
  if (line.startsWith('ssh '))
    return `${line.replace('ssh ', 'ssh -F "$OUT/ssh_config" ')} 'echo "hello from $(whoami)"'`;
  return line;
}

function prepareSsh(folder: string): string {
  const { sshd = '', sshKeygen = '' } = findTools();
  for (const name of ['host', 'user'])
    execFileSync(sshKeygen, ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name)]);
  const server = [
    'ListenAddress 127.0.0.1',
    `HostKey ${folder}/host`,
    `AuthorizedKeysFile ${folder}/user.pub`,
    'UsePAM no',
  ];
  writeFileSync(join(folder, 'sshd_config'), [...server, 'StrictModes no', 'PidFile none', ''].join('\n'));
  const [type = '', key = ''] = readFileSync(join(folder, 'host.pub'), 'utf8').split(' ');
  writeFileSync(join(folder, 'known_hosts'), `web.berlin ${type} ${key}\n`);
  const client = [
    `IdentityFile ${folder}/user`,
    `UserKnownHostsFile ${folder}/known_hosts`,
    'StrictHostKeyChecking yes',
  ];
  writeFileSync(join(folder, 'ssh_config'), [...client, 'LogLevel ERROR', 'ConnectTimeout 20', ''].join('\n'));
  if (!existsSync('/run/sshd')) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  return `${sshd} -f "$OUT/sshd_config"`;
}

test(
  'the ten lines of the README lead from an empty etcd to ssh',
  { skip: obstacle(), timeout: LIMIT_MS },
  async (context) => {
    const folder = mkdtempSync(join(tmpdir(), 'xylem-quick-start-'));
    try {
      writeFileSync(join(folder, 'password'), 'correct horse battery\n', { mode: 0o600 });
      // `xylem` inside of ssh's ProxyCommand is a program, not the shell's function.
      const bin = join(folder, 'bin');
      mkdirSync(bin);
      writeFileSync(join(bin, 'xylem'), `#!/bin/sh\nexec "${process.execPath}" "${XYLEM_BIN}" "$@"\n`, { mode: 0o755 });
      const script = [
        'set -eu -o pipefail',
        'mount -t tmpfs tmpfs /var/lib',
        'ip link set lo up',
        HELPERS,
        'etcd --data-dir /var/lib/etcd > "$OUT/etcd.log" 2>&1 &',
        'await "ready to serve client requests" "$OUT/etcd.log"',
        prepareSsh(folder),
        ...commands().map(typed),
      ].join('\n');
      const started = performance.now();
      const child = spawn('unshare', [...UNSHARE, 'bash', '-c', script], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          ...childEnvironment(),
          HOME: folder,
          OUT: folder,
          NODE: process.execPath,
          XYLEM: XYLEM_BIN,
          PATH: `${bin}:${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
        },
      });
      const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
      assert.equal(child.exitCode, 0, `${out}\n${err}`);
      assert.match(out, /\nhello from root\n$/);
      context.diagnostic(`${commands().length} commands, ${((performance.now() - started) / 1_000).toFixed(1)} s`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
