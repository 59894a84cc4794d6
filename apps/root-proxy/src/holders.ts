import type { LeafId, RegistryView } from '@xylem/discovery';
import type { PeerHolder } from '@xylem/tunnel';
import type { PeerAddress } from './peers/peer.ts';

/** Which other root proxies hold a recorded claim of a leaf cluster. */
export function holdersOf(view: RegistryView, leaf: LeafId, self: string): readonly PeerHolder[] {
  const holders = new Map<string, PeerHolder>();
  for (const { proxy } of view.claimsOf(leaf)) {
    const member = view.member(proxy);
    if (member !== undefined && proxy !== self) holders.set(proxy, { proxy, ready: member.record.state === 'ready' });
  }
  return [...holders.values()];
}

export function allHolders(view: RegistryView, self: string): ReadonlyMap<string, readonly PeerHolder[]> {
  return new Map(view.leaves().map((leaf) => [leaf, holdersOf(view, leaf, self)]));
}

/** Where the other members' peer services are. */
export function peerAddresses(view: RegistryView): readonly PeerAddress[] {
  return view.members().map(({ record, peerAddress }) => ({ proxy: record.id, address: peerAddress }));
}

/** Names of the members that are about to stop. */
export function drainingMembers(view: RegistryView): ReadonlySet<string> {
  const draining = view.members().filter(({ record }) => record.state === 'draining');
  return new Set(draining.map(({ record }) => record.id));
}
