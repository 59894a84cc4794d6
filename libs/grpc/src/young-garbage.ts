import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Collects the young garbage that carrying bytes makes, before V8 collects everything.
 *
 * Each byte that passes a hop leaves about four in short-lived buffers outside V8's heap: what a socket read, a message, its copy in
 * grpc-js, what TLS decrypted. V8 counts them as memory pressure, and 64 MB of it make it mark the whole heap, some 30 MB that
 * never change: at 200 MB/s ten times a second, for more than half of the processor time when other processes want the cores
 * too. They are all young, though, and collecting only the young takes a fraction of a millisecond.
 */

/** Some 32 MB of buffers: half of what V8 bears. */
const EVERY_BYTES = 8 * 1024 * 1024;

type Collect = (options: { readonly type: 'minor' }) => unknown;

let collect: Collect | undefined;
let looked = false;
let bytesSince = 0;

/** Bytes were carried. Nothing happens where this version of Node offers no such collection. */
export function carried(bytes: number): void {
  bytesSince += bytes;
  if (bytesSince < EVERY_BYTES) return;
  bytesSince = 0;
  if (!looked) collect = minorCollection();
  looked = true;
  collect?.({ type: 'minor' });
}

/** `gc` as `--expose-gc` gives it, in a context of its own: global for nobody. Undefined when V8 has it no more. */
export function minorCollection(): Collect | undefined {
  setFlagsFromString('--expose-gc');
  const gc: unknown = runInNewContext('globalThis.gc');
  setFlagsFromString('--no-expose-gc');
  return isCollect(gc) ? gc : undefined;
}

function isCollect(value: unknown): value is Collect {
  return typeof value === 'function';
}
