import { Secret } from '@xylem/identity';
import { CommandError, STATUS } from './exit.ts';

const MAX_CHARACTERS = 4_096;
const ENTER = new Set(['\r', '\n', '\u0004']);
const BACKSPACE = new Set(['\u007f', '\b']);
const INTERRUPT = '\u0003';
/** Status of a program that SIGINT ended, as shells report it. */
const INTERRUPTED = 130;

/** A terminal that keys are read from; `process.stdin` is one. */
export interface Keyboard extends AsyncIterable<unknown> {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
  pause?(): unknown;
}

/** Whether somebody sits there to answer. */
export function canAsk(keyboard: Keyboard = process.stdin): boolean {
  return keyboard.isTTY === true;
}

/**
 * Asks for something that must not be seen: nothing that is typed is shown. Rejects with a CommandError when it is interrupted
 * or left empty.
 *
 * @param note Writes to the terminal, past what is piped on.
 */
export async function askSecret(
  question: string,
  note: (text: string) => void,
  keyboard: Keyboard = process.stdin,
): Promise<Secret<string>> {
  note(`${question}: `);
  keyboard.setRawMode?.(true);
  try {
    const typed = await readLine(keyboard);
    if (typed === '') throw new CommandError(STATUS.usage, `${question} is empty`);
    return new Secret(typed);
  } finally {
    keyboard.setRawMode?.(false);
    keyboard.pause?.();
    note('\n');
  }
}

/** Asks a question that only `yes` answers in the affirmative. */
export async function askYes(
  question: string,
  note: (text: string) => void,
  keyboard: Keyboard = process.stdin,
): Promise<boolean> {
  note(`${question} (yes/no) `);
  const typed = await readLine(keyboard);
  keyboard.pause?.();
  return typed.trim().toLowerCase() === 'yes';
}

async function readLine(keyboard: Keyboard): Promise<string> {
  const characters: string[] = [];
  const decoder = new TextDecoder();
  for await (const chunk of chunksOf(keyboard)) {
    const text = typeof chunk === 'string' ? chunk : decoder.decode(asBytes(chunk), { stream: true });
    for (const character of text) {
      if (ENTER.has(character)) return characters.join('');
      if (character === INTERRUPT) throw new CommandError(INTERRUPTED, 'interrupted');
      if (BACKSPACE.has(character)) characters.pop();
      else if (characters.length < MAX_CHARACTERS) characters.push(character);
    }
  }
  return characters.join('');
}

/** Leaving the loop must not destroy the terminal: there may be a second question. */
function chunksOf(keyboard: Keyboard): AsyncIterable<unknown> {
  const iterator = keyboard[Symbol.asyncIterator]();
  return { [Symbol.asyncIterator]: () => ({ next: () => iterator.next() }) };
}

function asBytes(chunk: unknown): Uint8Array {
  return chunk instanceof Uint8Array ? chunk : Buffer.from(String(chunk));
}
