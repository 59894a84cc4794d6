import type { MethodDefinition } from '@grpc/grpc-js';
import { decodeFrame, encodeFrame } from './frame-codec.ts';
import { AccessServiceService } from './gen/xylem/access/v1/access.ts';
import { AdminServiceService } from './gen/xylem/admin/v1/admin.ts';
import type { Frame } from './gen/xylem/carry/v1/carry.ts';
import { ChannelServiceService } from './gen/xylem/channel/v1/channel.ts';
import { PeerServiceService } from './gen/xylem/peer/v1/peer.ts';
import { RegistryServiceService } from './gen/xylem/registry/v1/registry.ts';
import { TunnelServiceService } from './gen/xylem/tunnel/v1/tunnel.ts';

/** The generated services, with our codec wherever Frames travel. Use these, not the generated definitions. */

const frameCodec = {
  requestSerialize: encodeFrame,
  requestDeserialize: decodeFrame,
  responseSerialize: encodeFrame,
  responseDeserialize: decodeFrame,
} satisfies Partial<MethodDefinition<Frame, Frame>>;

export const TunnelService = {
  ...TunnelServiceService,
  carry: { ...TunnelServiceService.carry, ...frameCodec },
} as const;

export const PeerService = {
  ...PeerServiceService,
  forward: { ...PeerServiceService.forward, ...frameCodec },
  relay: { ...PeerServiceService.relay, ...frameCodec },
} as const;

export const AccessService = {
  ...AccessServiceService,
  dial: { ...AccessServiceService.dial, ...frameCodec },
} as const;

export const RegistryService = RegistryServiceService;

export const AdminService = AdminServiceService;

export const ChannelService = ChannelServiceService;

const identity = (bytes: Buffer): Buffer => bytes;

const rawCodec = {
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
} satisfies Partial<MethodDefinition<Buffer, Buffer>>;

/** The frame-carrying methods with their messages left as bytes: a hop in the middle splices two of these. */
export const RawFrameMethods = {
  carry: { ...TunnelServiceService.carry, ...rawCodec },
  forward: { ...PeerServiceService.forward, ...rawCodec },
  relay: { ...PeerServiceService.relay, ...rawCodec },
  dial: { ...AccessServiceService.dial, ...rawCodec },
} as const;

/**
 * The greatest answer of Describe, ListNodes and GetStatus, in bytes: whoever asks must take what may be sent. 20,000
 * tunnels of a few nodes each, or some hundred with thousands.
 */
export const MAX_ANSWER_BYTES = 4 * 1_024 * 1_024;
