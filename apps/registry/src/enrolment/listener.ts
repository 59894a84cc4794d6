import { createServer } from 'node:https';
import type { Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { parseHostPort } from '@xylem/service';
import type { ShownCertificate } from '../authority/enrolments.ts';
import { addressGroup, plainAddress } from '../authority/addresses.ts';
import { FailedAttempts } from './attempts.ts';
import { EnrolmentProblem, problemOf } from './problem.ts';
import type { EnrolmentRoute } from './routes.ts';
import { shownCertificate } from './shown.ts';

const MAX_BODY_BYTES = 8 * 1024;
const MAX_HEADER_BYTES = 8 * 1024;
const MAX_HEADERS = 32;
/** From the accept to the last byte of the request, and then to the answer. A client waits 6 s for it. */
const REQUEST_MS = 5_000;
const ANSWER_MS = 5_000;
/** What the socket lives beyond both, for the answer to be read. */
const GRACE_MS = 1_000;
const RETRY_AFTER_S = 2;
/** Open connections in all, and of one address (an IPv6 host's /64) that is no root proxy's. */
const MAX_CONNECTIONS = 1_024;
const MAX_CONNECTIONS_PER_ADDRESS = 64;

export interface ListenerOptions {
  readonly domain: string;
  /** PEM; `cert` has the root as last certificate. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly routes: readonly EnrolmentRoute[];
  /** Whether an address is that of a root proxy with a session: it relays for many. */
  readonly isRelay: (address: string) => boolean;
  /** Told of errors of ours; clients never see them. */
  readonly onError: (where: string, cause: unknown) => void;
  /** Told of each answer; `code` is `ok` for success. */
  readonly onAnswer: (path: string, code: string, address: string) => void;
}

/** The only place where a peer without a certificate is listened to: docs/PROTOCOL.md, "Enrolment". */
export interface EnrolmentListener {
  /** Answers with the real port. Rejects with an Error that names the address. */
  listen(address: string): Promise<number>;
  /** For connections from now on. */
  useTls(tls: ListenerOptions['tls']): void;
  /** Idempotent. */
  close(): Promise<void>;
}

export function createEnrolmentListener(options: ListenerOptions): EnrolmentListener {
  return new Listener(options);
}

class Listener implements EnrolmentListener {
  readonly #options: ListenerOptions;
  readonly #server: Server;
  readonly #attempts: FailedAttempts;
  readonly #open = new Map<string, number>();
  readonly #sockets = new Set<Socket>();

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#attempts = new FailedAttempts(options.isRelay);
    this.#server = createServer(
      {
        ...options.tls,
        minVersion: 'TLSv1.3',
        ALPNProtocols: ['http/1.1'],
        requestCert: true,
        // Whoever joins has none; a renewal is refused by its route when there is none that was verified.
        rejectUnauthorized: false,
        handshakeTimeout: REQUEST_MS,
        headersTimeout: REQUEST_MS,
        requestTimeout: REQUEST_MS,
        connectionsCheckingInterval: 500,
        keepAlive: false,
        maxHeaderSize: MAX_HEADER_BYTES,
        requireHostHeader: true,
      },
      (request, response) => this.#serve(request, response),
    );
    this.#server.maxHeadersCount = MAX_HEADERS;
    this.#server.maxRequestsPerSocket = 1;
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('connection', (socket: Socket) => this.#accepted(socket));
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy());
    this.#server.on('clientError', (_error, socket) => socket.destroy());
    // No body is waited for that the headers do not promise within the bounds.
    this.#server.on('checkContinue', (request, response) => this.#serve(request, response));
    this.#server.on('checkExpectation', (request, response) => this.#serve(request, response));
    this.#server.on('upgrade', (_request, socket) => socket.destroy());
  }

  async listen(address: string): Promise<number> {
    const parsed = parseHostPort(address);
    if (parsed === undefined) throw new Error(`${address} is no address to listen on`);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', reject);
    this.#server.listen(parsed.port, parsed.host, resolve);
    try {
      await promise;
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      throw new Error(`cannot listen on ${address}: ${detail}; choose another enrol.listen`, { cause: error });
    }
    this.#server.off('error', reject);
    this.#server.on('error', (error) => this.#options.onError('enrol.listen', error));
    const bound = this.#server.address();
    return bound !== null && typeof bound === 'object' ? bound.port : parsed.port;
  }

  useTls(tls: ListenerOptions['tls']): void {
    this.#server.setSecureContext({ ...tls, minVersion: 'TLSv1.3' });
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #accepted(socket: Socket): void {
    const address = plainAddress(socket.remoteAddress ?? '');
    const group = addressGroup(address);
    const open = (this.#open.get(group) ?? 0) + 1;
    if (open > MAX_CONNECTIONS_PER_ADDRESS && !this.#options.isRelay(address)) return void socket.destroy();
    this.#open.set(group, open);
    this.#sockets.add(socket);
    const deadline = setTimeout(() => socket.destroy(), REQUEST_MS + ANSWER_MS + GRACE_MS);
    socket.once('close', () => {
      clearTimeout(deadline);
      this.#sockets.delete(socket);
      const left = (this.#open.get(group) ?? 1) - 1;
      if (left === 0) this.#open.delete(group);
      else this.#open.set(group, left);
    });
  }

  /** Ends in an answer or a closed connection: what goes wrong on the way, in a hook too, costs this one request. */
  #serve(request: IncomingMessage, response: ServerResponse): void {
    this.#answer(request, response).catch((cause: unknown) => {
      if (!response.headersSent) request.socket.destroy();
      this.#options.onError('enrolment', cause);
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const address = plainAddress(request.socket.remoteAddress ?? '');
    // Only paths that exist are named anywhere: what a stranger makes up stays out of metrics and logs.
    const route = this.#options.routes.find(({ path }) => path === request.url);
    const where = route?.path ?? 'unknown';
    const code = await this.#settle(request, response, address, sourceOf(request, route, address), where);
    this.#options.onAnswer(where, code, address);
  }

  /** Answers; says with which code. */
  async #settle(
    request: IncomingMessage,
    response: ServerResponse,
    address: string,
    source: string,
    where: string,
  ): Promise<string> {
    try {
      const waitMs = this.#attempts.waitMs(source, performance.now());
      if (waitMs > 0) throw tooMany(waitMs);
      send(response, 200, await this.#handle(request, address));
      return 'ok';
    } catch (error) {
      const problem = problemOf(error) ?? this.#hidden(where, error);
      // Trouble of ours is no guess of theirs.
      if (problem.status < 500 && problem.status !== 429) this.#attempts.failed(source, performance.now());
      if (problem.retryAfter !== undefined) response.setHeader('retry-after', problem.retryAfter);
      send(response, problem.status, { code: problem.code, error: problem.message, remedy: problem.remedy });
      return problem.code;
    }
  }

  async #handle(request: IncomingMessage, address: string): Promise<object> {
    const at = this.#options.routes.filter(({ path }) => path === request.url);
    if (at.length === 0) throw new EnrolmentProblem(404, 'unknown', 'there is no such path here', '');
    const route = at.find(({ method }) => method === request.method);
    if (route === undefined) throw new EnrolmentProblem(405, 'unknown', 'the path is not for this method', '');
    const { socket } = request;
    if (!(socket instanceof TLSSocket)) throw new Error('a request came without TLS');
    const body = route.method === 'POST' ? await readJson(request) : undefined;
    const shown = (): ShownCertificate => shownCertificate(socket, this.#options.domain);
    return inTime(route.handle({ address, body, socket, shown }));
  }

  #hidden(where: string, cause: unknown): EnrolmentProblem {
    this.#options.onError(where, cause);
    return new EnrolmentProblem(500, 'internal', 'internal error', 'see the log of the registry');
  }
}

/**
 * What failures are counted by. Behind an address, that of a root proxy above all, may be many: where a certificate is needed it is the
 * certificate, so that strangers who guess there keep nobody from renewing.
 */
function sourceOf({ socket }: IncomingMessage, route: EnrolmentRoute | undefined, address: string): string {
  if (route?.needsCertificate !== true || !(socket instanceof TLSSocket) || !socket.authorized) return address;
  return socket.getPeerX509Certificate()?.fingerprint256 ?? address;
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const { headers } = request;
  if (headers['content-type']?.toLowerCase() !== 'application/json') {
    throw new EnrolmentProblem(400, 'invalid', 'the body is not JSON', 'send Content-Type: application/json');
  }
  const promised = headers['content-length'];
  if (promised === undefined || !/^[0-9]{1,9}$/.test(promised) || headers['transfer-encoding'] !== undefined) {
    throw new EnrolmentProblem(400, 'invalid', 'the length of the body is not given', 'send Content-Length, no chunks');
  }
  if (headers.expect !== undefined)
    throw new EnrolmentProblem(400, 'invalid', 'Expect is not known here', 'leave it out');
  if (Number(promised) > MAX_BODY_BYTES) {
    throw new EnrolmentProblem(413, 'too-large', `a body has at most ${MAX_BODY_BYTES} bytes`, '');
  }
  const chunks: Buffer[] = [];
  const late = setTimeout(() => request.destroy(), REQUEST_MS);
  try {
    for await (const chunk of request) {
      if (Buffer.isBuffer(chunk)) chunks.push(chunk);
    }
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)));
  } catch {
    throw new EnrolmentProblem(400, 'invalid', 'the body is not JSON', '');
  } finally {
    clearTimeout(late);
  }
}

/** What comes too late is done all the same: who asks again with the same key gets the answer. */
async function inTime<T>(answer: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const problem = new EnrolmentProblem(503, 'unavailable', 'the store is slow to answer', 'try again', RETRY_AFTER_S);
  const timer = setTimeout(() => late.reject(problem), ANSWER_MS);
  try {
    return await Promise.race([answer, late.promise]);
  } finally {
    clearTimeout(timer);
    answer.catch(() => undefined);
  }
}

function tooMany(waitMs: number): EnrolmentProblem {
  const seconds = Math.ceil(waitMs / 1_000);
  return new EnrolmentProblem(429, 'too-many', 'too many failed attempts from this address', 'wait', seconds);
}

function send(response: ServerResponse, status: number, answer: object): void {
  if (response.headersSent || response.destroyed) return;
  const text = JSON.stringify(answer);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    connection: 'close',
  });
  response.end(text);
}
