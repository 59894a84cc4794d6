/**
 * The servers behind the firewall: an HTTP service and an echo service, as a process of their own.
 *
 *   node nodes.ts --http 127.0.0.1:7480 --echo 127.0.0.1:7407 --name berlin
 */
import { createHash } from 'node:crypto';
import { createServer as createHttpServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { Server } from 'node:net';
import { hostname } from 'node:os';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { onLifelineCut } from './lifeline.ts';
import { testBytes } from '../test-bytes.ts';

const DOWNLOAD_LIMIT_BYTES = 1_073_741_824;

/** GET / : who answers. GET /bytes/<n> : n bytes. PUT /sha256 : the digest of the body. */
async function answer(name: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url = '/' } = request;
  if (method === 'PUT' && url === '/sha256') {
    const hash = createHash('sha256');
    const body: AsyncIterable<Buffer> = request;
    for await (const chunk of body) hash.update(chunk);
    response.writeHead(200, { 'content-type': 'text/plain' }).end(hash.digest('hex'));
    return;
  }
  const bytes = Number(/^\/bytes\/(\d{1,10})$/.exec(url)?.[1] ?? Number.NaN);
  if (method === 'GET' && bytes <= DOWNLOAD_LIMIT_BYTES) {
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes });
    await pipeline(Readable.from(testBytes(bytes)), response);
    return;
  }
  if (method !== 'GET' || url !== '/') {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('try / or /bytes/1000\n');
    return;
  }
  const text = `Hello from node web of leaf cluster ${name}, on ${hostname()}.\nYou came as ${request.socket.remoteAddress ?? '?'}: that is the leaf agent.\n`;
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
}

function listen(server: Server, address: string): Promise<void> {
  const colon = address.lastIndexOf(':');
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(Number(address.slice(colon + 1)), address.slice(0, colon), resolve);
  });
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      http: { type: 'string', default: '' },
      echo: { type: 'string', default: '' },
      name: { type: 'string', default: '' },
    },
  });
  const http = createHttpServer((request, response) => {
    answer(values.name, request, response).catch(() => response.destroy());
  });
  const echo = createTcpServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  await listen(http, values.http);
  await listen(echo, values.echo);
  process.stdout.write('{"event":"service.ready"}\n');
  onLifelineCut(() => process.exit(0));
}

await main();
