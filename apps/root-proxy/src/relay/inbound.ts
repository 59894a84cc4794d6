import type { ServerDuplexStream } from '@grpc/grpc-js';
import { FramePort } from '@xylem/carrier';
import type { ProxyId } from '@xylem/discovery';
import type { GrpcServer } from '@xylem/grpc';
import { RELAY_SOURCE } from '../peers/peer.ts';
import type { TunnelConnections } from './connections.ts';
import type { Handshakes } from './handshakes.ts';
import { FrameDuplex } from './frame-duplex.ts';

const SOURCE = /^[0-9A-Za-z.:[\]%-]{1,64}$/;

export interface RelayPorts {
  readonly server: GrpcServer;
  readonly connections: TunnelConnections;
  readonly handshakes: Handshakes;
  readonly onBusy: (source: string) => void;
}

/**
 * Takes a relayed connection in as if it had come to the tunnel port: TLS with the agent starts here. It came over the
 * peer port, so only a root proxy can have relayed it, and it is served here whatever name it asks for: no second relay.
 * It waits for its handshake like any other; `onBusy` is told when it was shed.
 */
export async function serveRelay(
  call: ServerDuplexStream<Buffer, Buffer>,
  via: ProxyId,
  { server, connections, handshakes, onBusy }: RelayPorts,
): Promise<void> {
  const duplex = new FrameDuplex(new FramePort(call));
  duplex.on('error', ignore);
  const told = call.metadata.get(RELAY_SOURCE)[0]?.toString() ?? '';
  const source = SOURCE.test(told) ? told : 'unknown';
  const turn = await handshakes.turn(duplex);
  if (turn === 'busy') onBusy(source);
  if (turn !== 'go') return;
  const connection = connections.addRelayed(duplex, via, source, ignore);
  server.inject(duplex, connection.label);
}

function ignore(): void {
  // The end of a relay is seen through 'close'.
}
