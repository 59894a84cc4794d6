import type { Server, Socket } from 'node:net';
import { parseHostPort } from '@xylem/service';

/**
 * Binds and listens. Answers with the real port. Rejects with one line that names the configuration key, the address and
 * the remedy.
 *
 * @param onAcceptFailed Told when one connection could not be accepted, for example for want of descriptors. The server
 *   goes on: the next one may be.
 */
export function bind(
  server: Server,
  address: string,
  key: string,
  onAcceptFailed: (detail: string) => void,
): Promise<number> {
  const parsed = parseHostPort(address);
  if (parsed === undefined) return Promise.reject(new Error(`${key}: ${JSON.stringify(address)} is not host:port`));
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void =>
      reject(new Error(`${key}: ${remedy(error, address)}`, { cause: error }));
    server.once('error', failed);
    server.listen({ host: parsed.host, port: parsed.port, backlog: 1_024 }, () => {
      server.off('error', failed);
      server.on('error', (error) => onAcceptFailed(error.message));
      const bound = server.address();
      resolve(typeof bound === 'object' && bound !== null ? bound.port : parsed.port);
    });
  });
}

/** Stops accepting; resolves when the port is free again. Open connections are left alone. */
export function stopListening(server: Server): void {
  if (server.listening) server.close();
}

function remedy(error: NodeJS.ErrnoException, address: string): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `${address} is taken by another process; stop it or choose another port`;
    case 'EACCES':
      return `this user may not listen on ${address}; choose a port above 1023`;
    case 'EADDRNOTAVAIL':
      return `${address} is not an address of this machine`;
    default:
      return `cannot listen on ${address}: ${error.message}`;
  }
}

/** host:port of the far end as the socket saw it; `unknown` once the socket has gone. */
export function addressOf(socket: Socket): string {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return 'unknown';
  return remoteAddress.includes(':') ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
}

/** 127.0.0.0/8, ::1, and the former in its IPv6-mapped form, as Node writes them. */
export function isLoopback(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(address);
}
