import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/** What changes something on disk. */
const OPERATIONS = [
  'openSync',
  'writeFileSync',
  'fsyncSync',
  'renameSync',
  'linkSync',
  'symlinkSync',
  'mkdirSync',
  'chmodSync',
  'rmSync',
] as const;

/**
 * Runs something while the disk takes so many changes, as if the process were killed before the next one: whatever is tried
 * afterwards, tidying up included, changes nothing.
 *
 * @returns Whether it was killed.
 */
export async function withDiskThatDies(changes: number, run: () => unknown): Promise<boolean> {
  let left = changes;
  const originals = OPERATIONS.map((name) => [name, Reflect.get(fs, name)] as const);
  for (const [name, original] of originals) {
    Reflect.set(fs, name, (...args: unknown[]): unknown => {
      // Reading is no change.
      if (name === 'openSync' && (args[1] ?? 'r') === 'r') return Reflect.apply(original, fs, args);
      left -= 1;
      if (left < 0) throw new Error('killed');
      return Reflect.apply(original, fs, args);
    });
  }
  syncBuiltinESMExports();
  try {
    await run();
    return left < 0;
  } catch (error) {
    if (left < 0) return true;
    throw error;
  } finally {
    for (const [name, original] of originals) Reflect.set(fs, name, original);
    syncBuiltinESMExports();
  }
}
