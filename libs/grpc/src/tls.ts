import { isIP } from 'node:net';
import { checkServerIdentity, connect, createServer } from 'node:tls';
import type { ConnectionOptions, SecureContextOptions, Server, TLSSocket, TlsOptions } from 'node:tls';
import type { Socket } from 'node:net';
import { constants } from 'node:crypto';
import type { TlsMaterial } from './api.ts';
import { TCP_KEEPALIVE } from './options.ts';

/** TLS as all our connections use it: version 1.3, HTTP/2 only, no resumption. */

const ALPN = ['h2'];

function contextOf(material: TlsMaterial): SecureContextOptions {
  return {
    ca: material.ca,
    cert: material.cert,
    key: material.key,
    minVersion: 'TLSv1.3',
    // A resumed session skips the check of the certificate, which may have expired or been replaced since.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

export interface TlsServerOptions {
  readonly requireClientCertificate: boolean;
  readonly handshakeTimeoutMs: number;
}

/** A TLS server that is not listening. With a required certificate nothing is accepted before it is verified. */
export function createTlsServer(material: TlsMaterial, options: TlsServerOptions): Server {
  const tlsOptions: TlsOptions = {
    ...contextOf(material),
    ALPNProtocols: ALPN,
    handshakeTimeout: options.handshakeTimeoutMs,
    requestCert: true,
    rejectUnauthorized: options.requireClientCertificate,
    noDelay: true,
    ...TCP_KEEPALIVE,
  };
  return createServer(tlsOptions);
}

/** New connections use the new certificate and trust; open ones go on. */
export function renewTlsServer(server: Server, material: TlsMaterial): void {
  server.setSecureContext(contextOf(material));
}

/** Starts TLS on a connected socket; the caller listens for 'secureConnect', 'error' and 'close'. */
export function startTls(socket: Socket, material: TlsMaterial, serverName: string): TLSSocket {
  const options: ConnectionOptions = {
    ...contextOf(material),
    socket,
    ALPNProtocols: ALPN,
    // SNI carries names only (RFC 6066 section 3); the certificate is checked against an IP address all the same.
    servername: isIP(serverName) === 0 ? serverName : '',
    checkServerIdentity: (_host, certificate) => checkServerIdentity(serverName, certificate),
  };
  return connect(options);
}
