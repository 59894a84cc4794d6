import type {
  Evidence,
  Member,
  MemberClaim,
  ProxyRecord,
  RegistryEvent,
  Stamp,
  View,
  ViewDelta,
} from '@xylem/discovery';
import type * as root from '@xylem/discovery';
import type { SessionReply, ViewClaim, ViewMember } from '@xylem/membership';

/** Stands for a registry's signature over the members as of a stamp. */
function sign({ epoch, revision }: Stamp): string {
  return `signed ${String(epoch)}.${String(revision)}`;
}

export function isSigned({ stamp, statement }: Evidence): boolean {
  return statement === sign(stamp);
}

/** The wire between registry and root proxy, without the bytes: what one plane's core says in the other plane's types. */
function member(from: ViewMember): Member {
  const record: ProxyRecord = {
    id: from.proxy as root.ProxyId,
    incarnation: from.incarnation as root.Incarnation,
    state: from.draining ? 'draining' : 'ready',
    generation: from.generation,
  };
  return {
    record,
    peerAddress: from.peerAddress,
    tunnelAddress: from.tunnelAddress,
    instanceNonce: from.instanceNonce as root.InstanceNonce,
    software: from.software,
  };
}

function claim(from: ViewClaim): MemberClaim {
  return {
    leaf: from.leaf as root.LeafId,
    proxy: from.proxy as root.ProxyId,
    slot: from.slot,
    agent: from.agent as root.AgentId,
    nonce: from.nonce,
    incarnation: from.incarnation as root.Incarnation,
    token: from.token as root.FencingToken,
  };
}

/** The event for RegistryLink that a reply means; undefined for answers to claims, which RootDiscovery gets. */
export function linkEvent(session: number, reply: SessionReply): RegistryEvent | undefined {
  switch (reply.type) {
    case 'welcome': {
      const { registry, lease, leaseTtlMs, heartbeatIntervalMs } = reply;
      return {
        type: 'welcomed',
        session,
        registry,
        incarnation: reply.incarnation as root.Incarnation,
        lease,
        leaseTtlMs,
        heartbeatIntervalMs,
      };
    }
    case 'refused':
      return { type: 'refused', session, code: reply.code, detail: reply.detail };
    case 'heartbeatAck':
      return { type: 'heartbeatAcked', session, sequence: reply.sequence, leaseValidMs: reply.leaseValidMs };
    case 'view': {
      const view: View = {
        stamp: reply.stamp,
        members: reply.members.map(member),
        claims: reply.claims.map(claim),
        statement: sign(reply.stamp),
      };
      return { type: 'viewReceived', session, view };
    }
    case 'viewDelta': {
      const delta: ViewDelta = {
        from: reply.from,
        to: reply.to,
        members: reply.members.map(member),
        removedMembers: reply.removedMembers as readonly root.ProxyId[],
        claims: reply.claims.map(claim),
        removedClaims: reply.removedClaims.map((key) => ({
          leaf: key.leaf as root.LeafId,
          proxy: key.proxy as root.ProxyId,
          slot: key.slot,
        })),
        // What changes no member is not signed anew.
        ...(reply.members.length + reply.removedMembers.length > 0 ? { statement: sign(reply.to) } : {}),
      };
      return { type: 'viewDeltaReceived', session, delta };
    }
    case 'evicted':
      return { type: 'evicted', session, detail: reply.detail };
    case 'drainResult':
      return { type: 'drainAnswered', session, recorded: reply.recorded };
    case 'left':
      return { type: 'left', session };
    case 'acquired':
    case 'released':
      return undefined;
  }
}

/** The event for RootDiscovery that an answer to a claim means; undefined for all else. */
export function claimEvent(reply: SessionReply): root.RootEvent | undefined {
  if (reply.type === 'released') {
    const request = Number(reply.request);
    return reply.code === 'done' ? { type: 'claimReleased', request } : { type: 'releaseUnknown', request };
  }
  if (reply.type !== 'acquired') return undefined;
  const request = Number(reply.request);
  switch (reply.code) {
    case 'granted':
      return { type: 'claimRecorded', request, token: reply.token as root.FencingToken };
    case 'held': {
      const { holder } = reply;
      if (holder === undefined) return { type: 'claimRefused', request, cause: 'held' };
      const record: root.ClaimRecord = {
        agent: holder.agent as root.AgentId,
        nonce: holder.nonce,
        incarnation: holder.incarnation as root.Incarnation,
        token: holder.token as root.FencingToken,
      };
      return { type: 'claimRefused', request, cause: 'held', holder: record };
    }
    case 'stale-incarnation':
      return { type: 'claimRefused', request, cause: 'stale-incarnation' };
    case 'unavailable':
      return { type: 'claimUnknown', request };
  }
}
