import type { GossipMessage, ProxyRecord, Stamp } from '@xylem/discovery';
import { tunnel as wire } from '@xylem/wire';

const { ProxyState } = wire;

/** A discovery request in the words of tunnel.proto. */
export function gossipToWire(message: GossipMessage): wire.DiscoveryRequest {
  const { statement = '' } = message;
  if (message.kind === 'snapshot') {
    const proxies = message.proxies.map(proxyToWire);
    return { kind: { $case: 'snapshot', value: { stamp: stampToWire(message.stamp), proxies, statement } } };
  }
  const { from, to, changed, removed } = message;
  const value = {
    from: stampToWire(from),
    to: stampToWire(to),
    changed: changed.map(proxyToWire),
    removed: [...removed],
    statement,
  };
  return { kind: { $case: 'delta', value } };
}

export function stampToWire(stamp: Stamp): wire.Stamp {
  return { epoch: stamp.epoch, revision: stamp.revision };
}

export function proxyToWire(proxy: ProxyRecord): wire.ProxyInfo {
  const state = proxy.state === 'ready' ? ProxyState.PROXY_STATE_READY : ProxyState.PROXY_STATE_DRAINING;
  return { id: proxy.id, incarnation: proxy.incarnation, state, generation: proxy.generation };
}
