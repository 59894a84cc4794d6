import type { GossipMessage, ProxyRecord, Stamp } from '@xylem/discovery';
import { tunnel } from '@xylem/wire';
import { isIncarnation, isProxyId } from '../ids.ts';

const { ProxyState } = tunnel;

export type GossipReading =
  | { readonly kind: 'gossip'; readonly message: GossipMessage }
  /** The sender broke the protocol; the message says nothing. */
  | { readonly kind: 'malformed'; readonly detail: string };

/** Reads a discovery request. One bad record makes the whole message worthless: a snapshot has to be exact. */
export function readGossip(request: tunnel.DiscoveryRequest): GossipReading {
  const { kind } = request;
  switch (kind?.$case) {
    case 'snapshot':
      return readSnapshot(kind.value);
    case 'delta':
      return readDelta(kind.value);
    default:
      return malformed('a discovery request that is neither snapshot nor delta');
  }
}

function readSnapshot({ stamp, proxies }: tunnel.Snapshot): GossipReading {
  const at = readStamp(stamp);
  const records = readRecords(proxies);
  if (at === undefined) return malformed('a snapshot without a stamp');
  if (typeof records === 'string') return malformed(records);
  return { kind: 'gossip', message: { kind: 'snapshot', stamp: at, proxies: records } };
}

function readDelta(delta: tunnel.Delta): GossipReading {
  const from = readStamp(delta.from);
  const to = readStamp(delta.to);
  const changed = readRecords(delta.changed);
  const removed = delta.removed.filter(isProxyId);
  if (from === undefined || to === undefined) return malformed('a delta without its stamps');
  if (typeof changed === 'string') return malformed(changed);
  if (removed.length !== delta.removed.length) return malformed('a removed root proxy without a valid name');
  return { kind: 'gossip', message: { kind: 'delta', from, to, changed, removed } };
}

function readStamp(stamp: tunnel.Stamp | undefined): Stamp | undefined {
  return stamp === undefined ? undefined : { epoch: stamp.epoch, revision: stamp.revision };
}

/** The records, or what is wrong with one of them. */
function readRecords(proxies: readonly tunnel.ProxyInfo[]): ProxyRecord[] | string {
  const records: ProxyRecord[] = [];
  for (const { id, incarnation, state, generation } of proxies) {
    if (!isProxyId(id) || !isIncarnation(incarnation)) return 'a root proxy without a valid name';
    if (state !== ProxyState.PROXY_STATE_READY && state !== ProxyState.PROXY_STATE_DRAINING) {
      return `root proxy ${id} in an unknown state`;
    }
    records.push({ id, incarnation, generation, state: state === ProxyState.PROXY_STATE_READY ? 'ready' : 'draining' });
  }
  return records;
}

function malformed(detail: string): GossipReading {
  return { kind: 'malformed', detail };
}

/** `epoch.revision`, for logs. */
export function showStamp(stamp: Stamp | undefined): string {
  return stamp === undefined ? 'none' : `${stamp.epoch}.${stamp.revision}`;
}
