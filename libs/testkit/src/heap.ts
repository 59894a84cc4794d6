import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes of V8's heap that something still holds: counted after a full collection, so that garbage not collected yet is no growth. */
export function retainedHeapBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('globalThis.gc');
  if (!isCollection(collect)) throw new Error('testkit: this V8 offers no collection on demand');
  collect();
  return process.memoryUsage().heapUsed;
}

function isCollection(value: unknown): value is () => void {
  return typeof value === 'function';
}
