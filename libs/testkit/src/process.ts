import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync, readdirSync } from 'node:fs';
import { Socket } from 'node:net';
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

const STOP_DEADLINE_MS = 5_000;

/**
 * Returns once no thread of a process runs that was sent SIGSTOP: the signal takes effect in each when it is next scheduled, and
 * until then it may answer. Blocks, for that long; does nothing where there is no /proc.
 */
export function waitStopped(pid: number): void {
  const deadline = performance.now() + STOP_DEADLINE_MS;
  while (performance.now() < deadline) if (!threadStates(pid).some((state) => state !== 'T')) return;
  throw new Error(`process ${pid} still ran ${STOP_DEADLINE_MS} ms after SIGSTOP`);
}

/** `R`, `S`, `T`, ... of each thread, proc(5). */
function threadStates(pid: number): readonly string[] {
  const folder = `/proc/${pid}/task`;
  if (!existsSync(folder)) return [];
  return readdirSync(folder).map((thread) => stateOf(join(folder, thread, 'stat')));
}

/** A thread that has ended meanwhile answers as little as a stopped one. */
function stateOf(file: string): string {
  try {
    return readFileSync(file, 'utf8').split(') ').at(-1)?.slice(0, 1) ?? 'T';
  } catch {
    return 'T';
  }
}
