export * from './shared/ids.ts';
export * from './shared/time.ts';
export * from './shared/gossip.ts';
export * from './shared/gossip-view.ts';
export * from './leaf/types.ts';
export { defaultLeafConfig } from './leaf/defaults.ts';
export { StampedKnowledge, type AdmitGossip, type Knowledge, type Verdict } from './leaf/knowledge.ts';
export { DialFence, type Admission, type FenceMark } from './leaf/dial-fence.ts';
export { LeafDiscovery } from './leaf/leaf-discovery.ts';
export * from './root/types.ts';
export { defaultRegistryLinkConfig, defaultRootConfig } from './root/defaults.ts';
export { RootDiscovery } from './root/root-discovery.ts';
export { serverNameFor, proxyOfServerName } from './shared/steering.ts';
export {
  Liveness,
  type LivenessConfig,
  type LivenessEffect,
  type LivenessEvent,
  type LivenessStatus,
} from './shared/liveness.ts';
export * from './root/registry-types.ts';
export { RegistryView } from './root/registry-view.ts';
export { RegistryLink } from './root/registry-link.ts';
export { peekClientHello, MAX_CLIENT_HELLO_BYTES, type ClientHelloPeek } from './shared/client-hello.ts';
export {
  defaultRelayConfig,
  RelayPolicy,
  type RelayConfig,
  type RelayDecision,
  type RelayRequest,
} from './root/relay.ts';
export { HandshakeAdmission, type AdmissionConfig, type AdmissionStatus } from './root/admission.ts';
export {
  DEFAULT_SERVING_CONFIG,
  ServingCheck,
  type ServingConfig,
  type ServingEffect,
  type ServingEvent,
  type ServingStatus,
} from './root/serving-check.ts';
