import { connect } from 'node:net';
import type { Socket } from 'node:net';

/** The front door did not answer 200. */
export class ConnectRefused extends Error {
  readonly status: number;

  constructor(status: number, text: string) {
    super(`CONNECT was answered ${text}`);
    this.status = status;
  }
}

const HEADER_LIMIT_BYTES = 8_192;
const TIMEOUT_MS = 15_000;

/** Opens a connection to a node through HTTP CONNECT. Rejects with ConnectRefused, or with a plain error. */
export function openConnect(frontDoor: string, authority: string): Promise<Socket> {
  const colon = frontDoor.lastIndexOf(':');
  const socket = connect({
    host: frontDoor.slice(0, colon),
    port: Number(frontDoor.slice(colon + 1)),
    allowHalfOpen: true,
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => fail(new Error(`no answer to CONNECT ${authority} within ${TIMEOUT_MS / 1_000} s`)),
      TIMEOUT_MS,
    );
    let head = Buffer.alloc(0);
    const stop = (): void => {
      clearTimeout(timer);
      socket.off('readable', read).off('error', fail).off('close', closed);
    };
    const fail = (error: Error): void => {
      stop();
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    };
    const closed = (): void =>
      fail(new Error(`the front door closed the connection for ${authority} without an answer`));
    // Reads by 'readable', so that the socket is left neither flowing nor paused for whoever takes it over.
    const read = (): void => {
      for (let chunk: unknown = socket.read(); chunk instanceof Buffer; chunk = socket.read()) {
        head = Buffer.concat([head, chunk]);
      }
      const end = head.indexOf('\r\n\r\n');
      if (end === -1 && head.length < HEADER_LIMIT_BYTES) return;
      const [statusLine = ''] = head.subarray(0, end).toString('latin1').split('\r\n');
      const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1] ?? Number.NaN);
      if (status !== 200) {
        fail(new ConnectRefused(status, statusLine.replace(/^HTTP\/1\.[01] /, '')));
        return;
      }
      stop();
      if (end + 4 < head.length) socket.unshift(head.subarray(end + 4));
      resolve(socket);
    };
    socket.on('readable', read).on('error', fail).on('close', closed);
    socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  });
}
