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
      out: (text) => process.stdout.write(text),
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
