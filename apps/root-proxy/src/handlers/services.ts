import { status } from '@grpc/grpc-js';
import { handleDuplex, handleStream, handleUnary, StatusError } from '@xylem/grpc';
import type { GrpcServer, MethodBinding } from '@xylem/grpc';
import { SPAN } from '@xylem/telemetry';
import type { Tracing } from '@xylem/telemetry';
import { AccessService, PeerService, RawFrameMethods, TunnelService } from '@xylem/wire';
import type { carry } from '@xylem/wire';
import type { Dials } from '../dials/dials.ts';
import { isProxyId } from '../ids.ts';
import type { TunnelConnection, TunnelConnections } from '../relay/connections.ts';
import { serveRelay } from '../relay/inbound.ts';
import type { RelayPorts } from '../relay/inbound.ts';
import type { Overview } from '../overview.ts';
import type { TunnelPlane } from '../tunnels/plane.ts';
import type { PolicyGate } from '../security/policy-gate.ts';
import { certificateProof, signedBy } from '../security/proof.ts';
import { Visible } from '../security/visible.ts';
import { authorise } from './authority.ts';
import type { Guard } from './authority.ts';
import { serveDialStream } from './dial-stream.ts';

export interface ServicePorts {
  readonly proxy: string;
  readonly guard: Guard;
  readonly tracing: Tracing;
  readonly dials: Dials;
  readonly plane: TunnelPlane;
  /** What comes over other root proxies, and what has come. */
  readonly relayed: Omit<RelayPorts, 'server'>;
  readonly overview: Overview;
  readonly gate: PolicyGate;
}

/** TunnelService, for leaf agents. */
export function tunnelServices({ guard, plane, relayed }: ServicePorts): readonly MethodBinding[] {
  return [
    handleStream(TunnelService.attach, async (stream) => {
      const identity = authorise('/xylem.tunnel.v1.TunnelService/Attach', stream.peer, guard);
      await plane.attach(stream, identity, admit(relayed.connections, stream.peer.address));
    }),
    handleDuplex(RawFrameMethods.carry, async (call, peer) => {
      authorise('/xylem.tunnel.v1.TunnelService/Carry', peer, guard);
      await plane.carry(call, peer);
    }),
  ];
}

/** PeerService, for the other root proxies. `tunnelServer` serves what they relay. */
export function peerServices(ports: ServicePorts, tunnelServer: GrpcServer): readonly MethodBinding[] {
  const { proxy, guard, dials, tracing, relayed, overview } = ports;
  return [
    handleDuplex(RawFrameMethods.forward, async (call, peer) => {
      const { proxy: forwarder } = authorise('/xylem.peer.v1.PeerService/Forward', peer, guard);
      const order = ({ hops, user, proof }: carry.Open) => {
        if (hops !== 1) return { problem: `a forwarded dial has passed 1 root proxy, this one says ${hops}` };
        if (proof === undefined) return { problem: 'a forwarded dial says whose it is; update the other root proxy' };
        return { hops, user, proof, source: `proxy/${forwarder}` };
      };
      await serveDialStream(call, { dials, tracing, span: SPAN.peerReceive, order });
    }),
    handleDuplex(RawFrameMethods.relay, async (call, peer) => {
      const identity = authorise('/xylem.peer.v1.PeerService/Relay', peer, guard);
      if (!isProxyId(identity.proxy) || identity.proxy === proxy) {
        throw new StatusError(status.PERMISSION_DENIED, `root proxy ${identity.proxy} may not relay to ${proxy}`);
      }
      await serveRelay(call, identity.proxy, { ...relayed, server: tunnelServer });
    }),
    handleUnary(PeerService.describe, async (_request, { peer }) => {
      authorise('/xylem.peer.v1.PeerService/Describe', peer, guard);
      return Promise.resolve({ status: overview.own() });
    }),
  ];
}

/** AccessService, for users and their tools. */
export function accessServices({ guard, dials, tracing, overview, gate }: ServicePorts): readonly MethodBinding[] {
  return [
    handleDuplex(RawFrameMethods.dial, async (call, peer) => {
      const { user } = authorise('/xylem.access.v1.AccessService/Dial', peer, guard);
      // Who the user is comes from the certificate, and how far the dial has come from us: of `open` only what the user signed counts.
      await serveDialStream(call, {
        dials,
        tracing,
        span: SPAN.accessDial,
        order: ({ proof }) => ({
          hops: 0,
          user,
          proof: certificateProof(peer.certificates, signedBy(proof)),
          source: peer.address,
        }),
      });
    }),
    handleUnary(AccessService.listNodes, async ({ leaf }, { peer }) => {
      const { user } = authorise('/xylem.access.v1.AccessService/ListNodes', peer, guard);
      return { leaves: new Visible(gate, user).leaves(await overview.nodes(leaf)) };
    }),
    handleUnary(AccessService.getStatus, async (_request, { peer }) => {
      const { user } = authorise('/xylem.access.v1.AccessService/GetStatus', peer, guard);
      return new Visible(gate, user).status(await overview.status());
    }),
  ];
}

function admit(connections: TunnelConnections, label: string): TunnelConnection {
  const admission = connections.attach(label);
  switch (admission.kind) {
    case 'admitted':
      return admission.connection;
    case 'second':
      throw new StatusError(
        status.FAILED_PRECONDITION,
        'this connection has had its Attach; a tunnel is one connection',
      );
    case 'unknown':
      throw new StatusError(status.UNAVAILABLE, 'the connection is gone');
  }
}
