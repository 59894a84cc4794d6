export * as access from './gen/xylem/access/v1/access.ts';
export * as admin from './gen/xylem/admin/v1/admin.ts';
export * as carry from './gen/xylem/carry/v1/carry.ts';
export * as channel from './gen/xylem/channel/v1/channel.ts';
export * as etcd from './gen/etcd/etcdserverpb/rpc.ts';
export * as health from './gen/grpc/health/v1/health.ts';
export * as mvcc from './gen/etcd/mvccpb/kv.ts';
export * as peer from './gen/xylem/peer/v1/peer.ts';
export * as reflection from './gen/grpc/reflection/v1/reflection.ts';
export * as reflectionAlpha from './gen/grpc/reflection/v1alpha/reflection.ts';
export * as registry from './gen/xylem/registry/v1/registry.ts';
export * as tunnel from './gen/xylem/tunnel/v1/tunnel.ts';
export { descriptors } from './gen/descriptors.ts';
export { decodeFrame, encodeDataFrame, encodeFrame, FrameDecodeError, frameKind, peekFrame } from './frame-codec.ts';
export type { FrameKind, FramePeek } from './frame-codec.ts';
export { MAX_PROBE_BYTES, PROBE_NODE } from './probe.ts';
export {
  AccessService,
  AdminService,
  ChannelService,
  MAX_ANSWER_BYTES,
  PeerService,
  RawFrameMethods,
  RegistryService,
  TunnelService,
} from './services.ts';
