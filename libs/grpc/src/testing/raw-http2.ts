import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { TlsMaterial } from '../api.ts';
import { within } from './deadline.ts';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export const FRAME = {
  data: 0x0,
  headers: 0x1,
  priority: 0x2,
  reset: 0x3,
  settings: 0x4,
  push: 0x5,
  ping: 0x6,
  goaway: 0x7,
  windowUpdate: 0x8,
  continuation: 0x9,
} as const;
export const END_STREAM = 0x1;
export const END_HEADERS = 0x4;

/** RFC 9113 4.1. */
export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header block of literals without indexing and without Huffman coding (RFC 7541 6.2.2). */
function literals(headers: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(headers).flatMap(([name, value]) => [Buffer.from([0x00]), text(name), text(value)]),
  );
}

/** The headers of a call. */
export function callHeaders(path: string, more: Readonly<Record<string, string>> = {}): Buffer {
  return literals({
    ':method': 'POST',
    ':scheme': 'https',
    ':path': path,
    ':authority': 'xylem',
    'content-type': 'application/grpc',
    te: 'trailers',
    ...more,
  });
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  if (bytes.length >= 127) throw new RangeError('the test writes short literals only');
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

/** A TLS connection on which the test writes the bytes of HTTP/2 itself; reads and forgets the answers. */
export class RawHttp2 {
  readonly socket: TLSSocket;
  readonly closed: Promise<void>;

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => void socket.once('close', () => resolve()));
    socket.on('error', () => undefined);
    socket.resume();
  }

  static async open(t: TestContext, port: number, tls: TlsMaterial, servername: string): Promise<RawHttp2> {
    const { ca, cert, key } = tls;
    const socket = connect({ host: '127.0.0.1', port, ca, cert, key, servername, ALPNProtocols: ['h2'] });
    t.after(() => socket.destroy());
    const raw = new RawHttp2(socket);
    await within(once(socket, 'secureConnect'), 'the handshake');
    return raw;
  }

  /** The connection preface and empty settings. */
  greet(): this {
    this.socket.write(Buffer.concat([Buffer.from(PREFACE), frame(FRAME.settings, 0, 0)]));
    return this;
  }

  write(...frames: readonly Buffer[]): this {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(frames));
    return this;
  }

  /** Writes batch after batch until the server has closed the connection; fails after so many. */
  async flood(batch: () => Buffer, most: number): Promise<void> {
    let open = true;
    void this.closed.then(() => {
      open = false;
    });
    for (let count = 0; open && count < most; count += 1) {
      if (!this.socket.write(batch())) await Promise.race([once(this.socket, 'drain').catch(() => []), this.closed]);
      // Lets the server's answer in.
      await new Promise((resolve) => void setImmediate(resolve));
    }
    await within(this.closed, 'the end of the connection');
  }
}
