import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { Socket, createServer } from 'node:net';
import { delimiter, join } from 'node:path';

const SYSTEM_FOLDERS = ['/usr/local/bin', '/usr/bin', '/usr/local/sbin', '/usr/sbin', '/opt/homebrew/bin'];

/** Where a program is, from PATH and then the usual folders. Throws, naming the Debian package, when it is nowhere. */
export function programPath(program: string, debianPackage: string): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_FOLDERS];
  for (const folder of folders) {
    if (folder === '') continue;
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      continue;
    }
  }
  throw new Error(`${program} was not found in PATH; install it, on Debian with: apt-get install ${debianPackage}`);
}

/** Ports given out by this process: the kernel may offer one again before its user has bound it. */
const givenPorts = new Set<number>();

/** TCP ports of 127.0.0.1 that were free a moment ago. Another process may take one: callers retry with others. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = await probePort();
    if (givenPorts.has(port)) continue;
    givenPorts.add(port);
    ports.push(port);
  }
  return ports;
}

function probePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        if (address === null || typeof address === 'string') reject(new Error('the kernel gave no port'));
        else resolve(address.port);
      });
    });
  });
}

/**
 * Makes a child die with this process even when this process is killed with SIGKILL: a small shell waits for the end of a pipe
 * that only this process holds. `folder` is removed then, too. Neither keeps this process from ending.
 *
 * @param scope `group`: the child leads a process group of its own, and all of it dies.
 */
export function guardChild(child: ChildProcess, folder?: string, scope: 'process' | 'group' = 'process'): void {
  child.unref();
  if (child.pid === undefined) return;
  const script = 'read -r _; kill -s KILL -- "$1" 2>/dev/null; if [ -n "$2" ]; then rm -rf -- "$2"; fi';
  const target = String(scope === 'group' ? -child.pid : child.pid);
  const guard = spawn('/bin/sh', ['-c', script, 'guard', target, folder ?? ''], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  guard.on('error', () => undefined);
  guard.stdin.on('error', () => undefined);
  guard.unref();
  if (guard.stdin instanceof Socket) guard.stdin.unref();
  child.once('exit', () => guard.kill('SIGKILL'));
}

/** Resolves when a child has ended; at once when it already has. */
export async function waitForExit(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  await new Promise<void>((resolve) => child.once('exit', () => resolve()));
}
