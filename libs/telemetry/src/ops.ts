import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';

export interface OpsOptions {
  /** host:port; loopback unless the operator says otherwise, because there is no authentication here. */
  readonly listen: string;
  /** What is not ready yet, one short text each; an empty list means ready. */
  readonly ready: () => readonly string[];
  /** Prometheus text. */
  readonly metrics: () => Promise<string>;
}

export interface OpsServer {
  readonly port: number;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const TEXT = 'text/plain; charset=utf-8';
const PROMETHEUS = 'text/plain; version=0.0.4; charset=utf-8';
const REQUEST_TIMEOUT_MS = 5_000;
const CONNECTION_LIMIT = 64;

/**
 * Serves /metrics, /healthz (the process answers) and /readyz (503 with the reasons while it should get no traffic).
 * Rejects with a message naming the address and the remedy when it cannot listen.
 */
export async function serveOps(options: OpsOptions): Promise<OpsServer> {
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => {
      answer(request, options).then(
        (result) => reply(request, response, result),
        () => reply(request, response, { status: 500, type: TEXT, body: 'internal error\n' }),
      );
    },
  );
  server.maxConnections = CONNECTION_LIMIT;
  const { host, port } = splitAddress(options.listen);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(options.listen, error)));
    server.listen(port, host, resolve);
  });
  const bound = server.address();
  return {
    port: bound !== null && typeof bound === 'object' ? bound.port : port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(request: IncomingMessage, options: OpsOptions): Promise<Answer> {
  const path = request.url?.split('?', 1)[0];
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return { status: 405, type: TEXT, body: 'GET or HEAD only\n' };
  switch (path) {
    case '/metrics':
      return { status: 200, type: PROMETHEUS, body: await options.metrics() };
    case '/healthz':
      return { status: 200, type: TEXT, body: 'ok\n' };
    case '/readyz': {
      const missing = options.ready();
      return missing.length === 0
        ? { status: 200, type: TEXT, body: 'ok\n' }
        : { status: 503, type: TEXT, body: `${missing.join('\n')}\n` };
    }
    default:
      return { status: 404, type: TEXT, body: 'try /metrics, /healthz or /readyz\n' };
  }
}

function reply(request: IncomingMessage, response: ServerResponse, { status, type, body }: Answer): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) };
}

function listenError(address: string, error: NodeJS.ErrnoException): Error {
  return new Error(`ops.listen: ${reasonOf(address, error)}`, { cause: error });
}

function reasonOf(address: string, error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `${address} is taken by another process; end that one or set another address`;
    case 'EACCES':
      return `this user may not listen on ${address}; use a port above 1023`;
    case 'EADDRNOTAVAIL':
      return `${address} is not an address of this machine`;
    default:
      return `cannot listen on ${address}: ${error.message}`;
  }
}
