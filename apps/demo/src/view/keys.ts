/** What can be pressed while the demo runs. */
export type Key = 'add' | 'drain' | 'kill' | 'quit';

const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
const KEYS: ReadonlyMap<string, Key> = new Map([
  ['a', 'add'],
  ['d', 'drain'],
  ['k', 'kill'],
  ['q', 'quit'],
  [CTRL_C, 'quit'],
  [CTRL_D, 'quit'],
]);

/** Reads single keys of a terminal; returns the way to stop, which gives the terminal back as it was. */
export function readKeys(pressed: (key: Key) => void): () => void {
  const { stdin } = process;
  const read = (chunk: Buffer): void => {
    for (const character of chunk.toString('utf8')) {
      const key = KEYS.get(character);
      if (key !== undefined) pressed(key);
    }
  };
  stdin.setRawMode(true);
  stdin.on('data', read);
  stdin.resume();
  return () => {
    stdin.off('data', read);
    stdin.setRawMode(false);
    stdin.pause();
  };
}
