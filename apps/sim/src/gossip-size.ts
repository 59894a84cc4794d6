import type { GossipMessage, ProxyRecord, Stamp } from '@xylem/discovery';
import { tunnel } from '@xylem/wire';

const { AttachResponse, ProxyState } = tunnel;

/** Bytes of a discovery request as a root proxy encodes it, unsigned; HTTP/2, gRPC and TLS add about 40 to each. */
export function gossipBytes(message: GossipMessage): number {
  const value = { kind: message.kind === 'snapshot' ? snapshot(message) : delta(message) };
  return AttachResponse.encode({ kind: { $case: 'discoveryRequest', value } }).finish().length;
}

function snapshot({
  stamp: at,
  proxies,
}: Extract<GossipMessage, { kind: 'snapshot' }>): NonNullable<tunnel.DiscoveryRequest['kind']> {
  return { $case: 'snapshot', value: { stamp: stamp(at), proxies: proxies.map(info), statement: '' } };
}

function delta(message: Extract<GossipMessage, { kind: 'delta' }>): NonNullable<tunnel.DiscoveryRequest['kind']> {
  const { from, to, changed, removed } = message;
  const value = { from: stamp(from), to: stamp(to), changed: changed.map(info), removed: [...removed], statement: '' };
  return { $case: 'delta', value };
}

function stamp({ epoch, revision }: Stamp): tunnel.Stamp {
  return { epoch, revision };
}

function info({ id, incarnation, state, generation }: ProxyRecord): tunnel.ProxyInfo {
  const shown = state === 'ready' ? ProxyState.PROXY_STATE_READY : ProxyState.PROXY_STATE_DRAINING;
  return { id, incarnation, state: shown, generation };
}
