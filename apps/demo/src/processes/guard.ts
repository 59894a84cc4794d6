/**
 * Runs a program that does not watch its standard input, such as sshd, and ends it when ours ends:
 * `node guard.ts <program> [args...]`. Exits as the program does.
 */
import { spawn } from 'node:child_process';
import { onLifelineCut } from './lifeline.ts';

const KILL_AFTER_MS = 2_000;
const [program, ...args] = process.argv.slice(2);
if (program === undefined) {
  process.stderr.write('usage: guard.ts <program> [args...]\n');
  process.exit(2);
}

const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
const stop = (): void => {
  child.kill('SIGTERM');
  setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS).unref();
};
onLifelineCut(stop);
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
child.on('error', (error) => {
  process.stderr.write(`${program}: ${error.message}\n`);
  process.exit(1);
});
child.on('exit', (code) => process.exit(code ?? 0));
