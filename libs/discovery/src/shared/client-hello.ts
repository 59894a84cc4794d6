/**
 * Reads the server name out of a TLS ClientHello without answering it (RFC 8446 section 4.1.2, RFC 6066 section 3), so
 * that a root proxy can tell whom an attempt is steered to before any TLS work is done. Works on whatever has arrived so
 * far, over several records, and throws on no input.
 */

export type ClientHelloPeek =
  /** Not all of it is there: ask again with more bytes. */
  | { readonly kind: 'need-more' }
  /** `name` as sent, in ASCII; undefined when the client names nobody. */
  | { readonly kind: 'server-name'; readonly name: string | undefined }
  /** Not a ClientHello that we would answer. */
  | { readonly kind: 'malformed'; readonly why: string };

/** Greatest ClientHello read, records included. A post-quantum one is about 2 KiB. */
export const MAX_CLIENT_HELLO_BYTES = 16_384;

const RECORD_HEADER_BYTES = 5;
const HANDSHAKE_HEADER_BYTES = 4;
const CONTENT_HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const EXTENSION_SERVER_NAME = 0;
const NAME_TYPE_HOST = 0;
const RANDOM_BYTES = 32;
const MAX_NAME_BYTES = 255;

const NEED_MORE: ClientHelloPeek = { kind: 'need-more' };

function malformed(why: string): ClientHelloPeek {
  return { kind: 'malformed', why };
}

/** A cursor that never reads past its end: what is missing reads as undefined. */
class Reader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get empty(): boolean {
    return this.#offset >= this.#bytes.length;
  }

  uint(width: 1 | 2 | 3): number | undefined {
    const taken = this.take(width);
    return taken?.reduce((value, byte) => value * 256 + byte, 0);
  }

  take(length: number): Uint8Array | undefined {
    if (this.#offset + length > this.#bytes.length) return undefined;
    const taken = this.#bytes.subarray(this.#offset, this.#offset + length);
    this.#offset += length;
    return taken;
  }

  /** A vector whose length comes first, in `width` bytes. */
  vector(width: 1 | 2): Uint8Array | undefined {
    const length = this.uint(width);
    return length === undefined ? undefined : this.take(length);
  }
}

/** `bytes`: everything received so far, from the first byte of the connection. */
export function peekClientHello(bytes: Uint8Array): ClientHelloPeek {
  const message = gatherHandshake(bytes);
  return message instanceof Uint8Array ? readClientHello(message) : message;
}

/** The body of the first handshake message, put together from its records. Linear in the bytes given. */
function gatherHandshake(bytes: Uint8Array): Uint8Array | ClientHelloPeek {
  const joined = new Uint8Array(Math.min(bytes.length, MAX_CLIENT_HELLO_BYTES));
  let gathered = 0;
  let offset = 0;
  for (;;) {
    const header = bytes.subarray(offset, offset + RECORD_HEADER_BYTES);
    const fault = checkRecordHeader(header);
    if (fault !== undefined) return malformed(fault);
    if (header.length < RECORD_HEADER_BYTES) return NEED_MORE;
    const length = (header[3] ?? 0) * 256 + (header[4] ?? 0);
    const start = offset + RECORD_HEADER_BYTES;
    if (length === 0) return malformed('an empty record');
    if (start + length > MAX_CLIENT_HELLO_BYTES) return malformed('larger than 16 KiB');
    const fragment = bytes.subarray(start, start + length);
    joined.set(fragment, gathered);
    gathered += fragment.length;
    const body = completeBody(joined.subarray(0, gathered));
    if (body !== undefined) return body;
    if (fragment.length < length) return NEED_MORE;
    offset = start + length;
  }
}

function checkRecordHeader(header: Uint8Array): string | undefined {
  const [type, major] = header;
  if (type !== undefined && type !== CONTENT_HANDSHAKE) return 'not a TLS handshake record';
  if (major !== undefined && major !== 3) return 'not a TLS version';
  return undefined;
}

/** The message body when it is complete, a fault when it can never be one, undefined while bytes are missing. */
function completeBody(joined: Uint8Array): Uint8Array | ClientHelloPeek | undefined {
  if (joined[0] !== undefined && joined[0] !== CLIENT_HELLO) return malformed('not a ClientHello');
  if (joined.length < HANDSHAKE_HEADER_BYTES) return undefined;
  const length = ((joined[1] ?? 0) * 256 + (joined[2] ?? 0)) * 256 + (joined[3] ?? 0);
  if (length > MAX_CLIENT_HELLO_BYTES) return malformed('larger than 16 KiB');
  const end = HANDSHAKE_HEADER_BYTES + length;
  return joined.length < end ? undefined : joined.subarray(HANDSHAKE_HEADER_BYTES, end);
}

function readClientHello(body: Uint8Array): ClientHelloPeek {
  const reader = new Reader(body);
  const fixed = [reader.uint(2), reader.take(RANDOM_BYTES), reader.vector(1), reader.vector(2), reader.vector(1)];
  if (fixed.includes(undefined)) return malformed('a ClientHello that ends early');
  if (reader.empty) return { kind: 'server-name', name: undefined };
  const extensions = reader.vector(2);
  if (extensions === undefined || !reader.empty) return malformed('extensions of a wrong length');
  return readExtensions(new Reader(extensions));
}

function readExtensions(reader: Reader): ClientHelloPeek {
  let found: ClientHelloPeek | undefined;
  while (!reader.empty) {
    const type = reader.uint(2);
    const content = reader.vector(2);
    if (type === undefined || content === undefined) return malformed('an extension of a wrong length');
    if (type !== EXTENSION_SERVER_NAME) continue;
    if (found !== undefined) return malformed('two server name extensions');
    found = readServerName(content);
    if (found.kind === 'malformed') return found;
  }
  return found ?? { kind: 'server-name', name: undefined };
}

/** RFC 6066: the list holds at most one name of each type; the only type ever defined is host_name. */
function readServerName(content: Uint8Array): ClientHelloPeek {
  const outer = new Reader(content);
  const list = outer.vector(2);
  if (list === undefined || list.length === 0 || !outer.empty) return malformed('a server name list of a wrong length');
  const entries = new Reader(list);
  let name: Uint8Array | undefined;
  while (!entries.empty) {
    const type = entries.uint(1);
    const text = entries.vector(2);
    if (type !== NAME_TYPE_HOST || text === undefined) return malformed('a server name that is not a host name');
    if (name !== undefined) return malformed('two server names');
    name = text;
  }
  if (name === undefined || name.length === 0 || name.length > MAX_NAME_BYTES)
    return malformed('an empty or overlong server name');
  if (!name.every((byte) => byte > 0x20 && byte < 0x7f)) return malformed('a server name that is not printable ASCII');
  return { kind: 'server-name', name: String.fromCharCode(...name) };
}
