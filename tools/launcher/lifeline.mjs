/**
 * Imported into the program that a launcher runs, as `lifeline.mjs?launcher=<process id>`: stops the program in order when the
 * launcher is killed, which tells nobody. Descriptor 3 ends then. What the program starts in its turn inherits the import, and is
 * left alone.
 */
import { Socket } from 'node:net';
import { isMainThread } from 'node:worker_threads';

const launcher = Number(new URL(import.meta.url).searchParams.get('launcher'));

if (isMainThread && process.ppid === launcher) {
  const lifeline = new Socket({ fd: 3 });
  const stop = () => process.kill(process.pid, 'SIGTERM');
  lifeline.once('end', stop).once('error', stop).resume().unref();
}
