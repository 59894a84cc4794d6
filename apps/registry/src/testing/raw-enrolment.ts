import { connect as connectTcp } from 'node:net';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { TlsMaterial } from '@xylem/identity';
import type { TestRegistry } from './world.ts';

/** What came back for bytes that were sent as they are. */
export interface RawAnswer {
  /** 0 when the connection was closed without an answer. */
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

export type RawTarget = Pick<TestRegistry, 'enrolPort'>;

export interface RawOptions {
  readonly client?: Pick<TlsMaterial, 'cert' | 'key'>;
  /** Source address: failures are counted by it. */
  readonly from?: string;
}

/** One connection to the enrolment listener; whatever is sent, until the other end closes. */
export async function sendRaw(
  { enrolPort }: RawTarget,
  bytes: string | Buffer,
  { client, from = '127.0.0.1' }: RawOptions = {},
): Promise<RawAnswer> {
  const socket = connect({
    socket: connectTcp({ host: '127.0.0.1', port: enrolPort, localAddress: from }),
    servername: 'enrol.xylem.internal',
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
    ...client,
  });
  socket.on('secureConnect', () => socket.write(bytes));
  const text = await closed(socket);
  const [head = '', ...rest] = text.split('\r\n\r\n');
  return { status: Number(/^HTTP\/1\.1 ([0-9]{3})/.exec(head)?.[1] ?? 0), head, body: rest.join('\r\n\r\n') };
}

/** A POST with a body as it is. */
export function post(path: string, body: string | Buffer, headers: Readonly<Record<string, string>> = {}): Buffer {
  const payload = Buffer.from(body);
  const all = {
    host: 'enrol.xylem.internal',
    'content-type': 'application/json',
    'content-length': String(payload.length),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`), payload]);
}

export function codeOf({ body }: RawAnswer): string {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null && 'code' in parsed ? String(parsed.code) : '';
  } catch {
    return '';
  }
}

async function closed(socket: TLSSocket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return Buffer.concat(chunks).toString('utf8');
}
