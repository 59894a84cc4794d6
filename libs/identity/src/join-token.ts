import { createHash, randomBytes } from 'node:crypto';
import { Secret } from './secret.ts';

/** What a person hands from the registry to a machine that joins; docs/PROTOCOL.md, "Enrolment". */
export interface JoinToken {
  /** 32 random bytes in base64url: 43 characters. */
  readonly secret: Secret<string>;
  /** SHA-256 of the DER of each root that was trusted when the token was made, base64url; 1 to 4 of them. */
  readonly pins: readonly string[];
}

const PREFIX = 'xylem-join';
const PART = '[A-Za-z0-9_-]{43}';
const MAX_PINS = 4;
const TOKEN = new RegExp(`^${PREFIX}\\.(${PART})\\.(${PART}(?:,${PART}){0,${MAX_PINS - 1}})$`);
const SECRET_BYTES = 32;

/** A new token for the roots in force. Throws a RangeError unless there are 1 to 4. */
export function makeJoinToken(pins: readonly string[]): JoinToken {
  if (pins.length === 0 || pins.length > MAX_PINS) throw new RangeError(`a token carries 1 to ${MAX_PINS} pins`);
  return { secret: new Secret(randomBytes(SECRET_BYTES).toString('base64url')), pins };
}

/** The token's text, for the one time that it is shown. */
export function joinTokenText({ secret, pins }: JoinToken): Secret<string> {
  return new Secret(`${PREFIX}.${secret.reveal()}.${pins.join(',')}`);
}

/** Reads a token; white space around it is ignored. undefined when it is none. */
export function parseJoinToken(text: string): JoinToken | undefined {
  const match = TOKEN.exec(text.trim());
  if (match === null) return undefined;
  const [, secret = '', pins = ''] = match;
  return { secret: new Secret(secret), pins: pins.split(',') };
}

/** What is kept of a token: SHA-256 of the secret's characters, lower-case hex. */
export function joinTokenHash(secret: string): string {
  return createHash('sha256').update(secret, 'ascii').digest('hex');
}

/** The pin of a root certificate: SHA-256 of its DER, base64url. */
export function pinOf(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('base64url');
}
