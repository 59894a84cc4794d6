import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import * as z from 'zod';
import { EnrolmentError } from './enrolment-error.ts';

/** The registry answers within 5 s of the handshake; its store may take most of that. */
const ANSWER_TIMEOUT_MS = 6_000;
const MAX_ANSWER_BYTES = 64 * 1_024;
const MAX_HEADER_BYTES = 8 * 1_024;
/** Lines of a registry are shown to people: nothing that a terminal acts on. */
const LINE = /^[\x20-\x7e]{0,300}$/;

const granted = z.object({
  identity: z.string(),
  domain: z.string(),
  generation: z.int().nonnegative(),
  certificate: z.string(),
  issuedAtMs: z.int(),
  notAfterMs: z.int(),
  trust: z.string(),
  trustGeneration: z.int().nonnegative(),
});

const signed = z.object({ intermediate: z.string(), trust: z.string() });

const loggedIn = granted.extend({ accessToken: z.string().max(16_384), accessTokenNotAfterMs: z.int() });

const waysIn = z.object({
  password: z.boolean(),
  oidc: z
    .object({
      issuer: z.string().max(512),
      clientId: z.string().max(256),
      scopes: z.array(z.string().max(128)).max(16),
    })
    .optional(),
});

const refused = z.object({
  code: z.string().regex(/^[a-z-]{1,40}$/),
  error: z.string().regex(LINE),
  remedy: z.string().regex(LINE).default(''),
});

/** What a registry answers to a join or renewal that it grants. */
export type Granted = z.output<typeof granted>;

/** What a registry that holds the root answers to another registry. */
export type Signed = z.output<typeof signed>;

/** What a registry answers to a login. */
export type LoginAnswer = z.output<typeof loggedIn>;

/** How users may log in. */
export type WaysIn = z.output<typeof waysIn>;

/** What an answer with 200 has to look like. */
export const ANSWERS = { granted, signed, loggedIn, waysIn } as const;

/**
 * Sends one request (GET without a body, else POST) on a verified connection and ends it. Rejects with an EnrolmentError: what the registry said (`stage` answer), or
 * that it said nothing usable in time.
 */
export async function exchange<Answer>(
  socket: TLSSocket,
  path: string,
  host: string,
  body: object | undefined,
  shape: z.ZodType<Answer>,
): Promise<Answer> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new EnrolmentError(`no answer within ${ANSWER_TIMEOUT_MS} ms`, { stage: 'http' }));
    socket.destroy();
  }, ANSWER_TIMEOUT_MS);
  try {
    return read(
      await Promise.race([
        send(socket, path, host, body === undefined ? undefined : JSON.stringify(body)),
        late.promise,
      ]),
      shape,
    );
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

interface RawAnswer {
  readonly status: number;
  readonly retryAfterMs: number;
  readonly text: string;
}

function send(socket: TLSSocket, path: string, host: string, body: string | undefined): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(new EnrolmentError(lossText(error), { stage: 'http', cause: error }));
    const outgoing = request({
      createConnection: () => socket,
      method: body === undefined ? 'GET' : 'POST',
      path,
      maxHeaderSize: MAX_HEADER_BYTES,
      headers: {
        host,
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        connection: 'close',
      },
    });
    outgoing.once('error', fail);
    outgoing.once('response', (response) => void readBody(response).then(resolve, fail));
    outgoing.end(body);
  });
}

/** With TLS 1.3 the server refuses a client certificate after the client's handshake is over: it is seen here. */
function lossText(error: Error): string {
  const code = 'code' in error ? String(error.code) : '';
  if (code.startsWith('ERR_SSL') && code.includes('ALERT')) return 'the registry refused the certificate';
  return code === 'ECONNRESET' ? 'the connection was closed without an answer' : error.message;
}

async function readBody(response: IncomingMessage): Promise<RawAnswer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    const piece = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
    bytes += piece.length;
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(piece);
  }
  const { statusCode: status = 0, headers } = response;
  const seconds = Number(headers['retry-after'] ?? 0);
  const retryAfterMs = Number.isSafeInteger(seconds) && seconds > 0 ? seconds * 1_000 : 0;
  return { status, retryAfterMs, text: Buffer.concat(chunks).toString('utf8') };
}

function read<Answer>({ status, retryAfterMs, text }: RawAnswer, shape: z.ZodType<Answer>): Answer {
  const json = parse(text);
  if (status === 200) {
    const answer = shape.safeParse(json);
    if (answer.success) return answer.data;
    throw new EnrolmentError('the answer is not one of a registry', { stage: 'http' });
  }
  const known = refused.safeParse(json);
  if (!known.success) throw new EnrolmentError(`the answer is HTTP ${status} and says nothing`, { stage: 'http' });
  const { code, error, remedy } = known.data;
  throw new EnrolmentError(error, { stage: 'answer', code, remedy, final: isFinal(status, code), retryAfterMs });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** docs/PROTOCOL.md, "Enrolment": these may be answered otherwise by another registry, or later. */
const PASSING: ReadonlySet<string> = new Set(['generation', 'certificate-refused']);

function isFinal(status: number, code: string): boolean {
  return status < 500 && status !== 429 && !PASSING.has(code);
}
