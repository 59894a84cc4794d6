import { createHash } from 'node:crypto';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { text } from 'node:stream/consumers';
import { testBytes } from '../test-bytes.ts';
import { openConnect } from './connect.ts';

export interface Transfer {
  readonly bytes: number;
  readonly ms: number;
  readonly sha256: string;
  readonly expected: string;
}

/** The body of GET `path` from a node, through CONNECT. */
export async function fetchText(frontDoor: string, authority: string, path: string): Promise<string> {
  return text(await get(frontDoor, authority, path));
}

/** Downloads `bytes` from the node's HTTP service. */
export async function download(frontDoor: string, authority: string, bytes: number): Promise<Transfer> {
  const started = performance.now();
  const response: AsyncIterable<Buffer> = await get(frontDoor, authority, `/bytes/${bytes}`);
  const hash = createHash('sha256');
  for await (const chunk of response) hash.update(chunk);
  return { bytes, ms: performance.now() - started, sha256: hash.digest('hex'), expected: digestOf(bytes) };
}

/** Uploads `bytes`; the node answers with the digest of what arrived. */
export async function upload(frontDoor: string, authority: string, bytes: number): Promise<Transfer> {
  const started = performance.now();
  const socket = await openConnect(frontDoor, authority);
  const headers = { host: authority, 'content-length': bytes };
  const call = request({ createConnection: () => socket, method: 'PUT', path: '/sha256', headers });
  const answered = new Promise<IncomingMessage>((resolve, reject) =>
    call.once('response', resolve).once('error', reject),
  );
  // Whichever fails first tells why; the other one must not fail unheard.
  const [response] = await Promise.all([answered, pipeline(Readable.from(testBytes(bytes)), call)]);
  const sha256 = await text(response);
  socket.destroy();
  return { bytes, ms: performance.now() - started, sha256, expected: digestOf(bytes) };
}

async function get(frontDoor: string, authority: string, path: string): Promise<IncomingMessage> {
  const socket = await openConnect(frontDoor, authority);
  return new Promise((resolve, reject) => {
    const headers = { host: authority, connection: 'close' };
    request({ createConnection: () => socket, path, headers }, resolve)
      .once('error', reject)
      .end();
  });
}

const digests = new Map<number, string>();

function digestOf(bytes: number): string {
  const known = digests.get(bytes);
  if (known !== undefined) return known;
  const hash = createHash('sha256');
  for (const chunk of testBytes(bytes)) hash.update(chunk);
  const digest = hash.digest('hex');
  digests.set(bytes, digest);
  return digest;
}
