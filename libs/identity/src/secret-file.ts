import { KeyFileError, readSecretText } from './key-file.ts';
import { Secret } from './secret.ts';

/** Tokens and passwords are short: whatever is longer is the wrong file. */
const MAX_BYTES = 4_096;

/**
 * Reads a token or password from a file, or from standard input when `source` is `-`: never from an argument or the
 * environment, which other users of the machine can see. White space at the ends is dropped. Rejects with a KeyFileError when the file is
 * missing, empty, too long, or readable by other users.
 *
 * @param what For messages: `join token`, `password`.
 */
export async function readSecret(
  source: string,
  what: string,
  input: AsyncIterable<unknown> = process.stdin,
): Promise<Secret<string>> {
  const name = source === '-' ? 'standard input' : source;
  const text = source === '-' ? await readAll(input, what) : readSecretText(source, what);
  const secret = text.trim();
  if (secret === '') throw new KeyFileError(name, `is empty; a ${what} is expected`);
  if (Buffer.byteLength(secret) > MAX_BYTES) throw new KeyFileError(name, `is too long for a ${what}`);
  return new Secret(secret);
}

async function readAll(input: AsyncIterable<unknown>, what: string): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of input) {
    const piece = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
    bytes += piece.length;
    if (bytes > 2 * MAX_BYTES) throw new KeyFileError('standard input', `is too long for a ${what}`);
    chunks.push(piece);
  }
  return Buffer.concat(chunks).toString('utf8');
}
