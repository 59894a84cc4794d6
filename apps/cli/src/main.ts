import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { isJoin } from './authority-commands.ts';
import { createProgram, explain } from './program.ts';
import { SERVICES, startService } from './services.ts';

const [command = '', ...rest] = process.argv.slice(2);

try {
  if (SERVICES.has(command) && !isJoin(rest)) await startService(command, rest);
  else {
    const color = process.env['NO_COLOR'] === undefined && process.env['TERM'] !== 'dumb' && isatty(1);
    await createProgram({
      out: print,
      note: (text) => process.stderr.write(text),
      color,
    }).parseAsync();
  }
} catch (error) {
  const { status, text } = explain(error);
  process.exitCode = status;
  if (text !== '') writeSync(2, text);
  // A connection that failed leaves standard input open: nothing else is wanted from it.
  process.exit();
}

/** Not before there is something to say: `connect` has standard output for itself. */
function print(text: string): void {
  if (process.stdout.listenerCount('error') === 0) process.stdout.on('error', unwritable);
  process.stdout.write(text);
}

function unwritable(error: NodeJS.ErrnoException): never {
  // Whoever reads has seen enough.
  if (error.code === 'EPIPE') process.exit();
  const reason = error.code === 'ENOSPC' ? 'no space is left' : error.message;
  writeSync(2, `xylem: standard output cannot be written: ${reason}\n`);
  process.exit(1);
}
