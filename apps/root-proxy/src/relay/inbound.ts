import type { ServerDuplexStream } from '@grpc/grpc-js';
import { FramePort } from '@xylem/carrier';
import type { ProxyId } from '@xylem/discovery';
import type { GrpcServer } from '@xylem/grpc';
import { RELAY_SOURCE } from '../peers/peer.ts';
import type { TunnelConnections } from './connections.ts';
import { FrameDuplex } from './frame-duplex.ts';

const SOURCE = /^[0-9A-Za-z.:[\]%-]{1,64}$/;

/**
 * Takes a relayed connection in as if it had come to the tunnel port: TLS with the agent starts here. It came over the
 * peer port, so only a root proxy can have relayed it, and it is served here whatever name it asks for: no second relay.
 */
export function serveRelay(
  call: ServerDuplexStream<Buffer, Buffer>,
  via: ProxyId,
  server: GrpcServer,
  connections: TunnelConnections,
): void {
  const duplex = new FrameDuplex(new FramePort(call));
  duplex.on('error', ignore);
  const told = call.metadata.get(RELAY_SOURCE)[0]?.toString() ?? '';
  const connection = connections.addRelayed(duplex, via, SOURCE.test(told) ? told : 'unknown', ignore);
  server.inject(duplex, connection.label);
}

function ignore(): void {
  // The end of a relay is seen through 'close'.
}
