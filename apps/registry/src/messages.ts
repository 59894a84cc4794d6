import type {
  RefusalCode,
  SessionReply,
  SessionRequest,
  View,
  ViewClaim,
  ViewDelta,
  ViewMember,
} from '@xylem/membership';
import { registry, tunnel } from '@xylem/wire';

/** Between xylem.registry.v1 and the core's messages. */

/** undefined for a message of a kind that is not known here. */
export function requestFromWire(message: registry.SessionRequest): SessionRequest | undefined {
  const { kind } = message;
  switch (kind?.$case) {
    case 'hello': {
      const { value } = kind;
      const stamp = value.newestStamp;
      const newestStamp = stamp && { epoch: stamp.epoch, revision: stamp.revision };
      return { type: 'hello', ...value, newestStamp };
    }
    case 'heartbeat':
      return { type: 'heartbeat', sequence: kind.value.sequence };
    case 'acquire':
      return { type: 'acquire', ...kind.value };
    case 'release':
      return { type: 'release', ...kind.value };
    case 'drain':
      return { type: 'drain' };
    case 'leave':
      return { type: 'leave' };
    case 'evidence': {
      const { stamp } = kind.value;
      return stamp && { type: 'evidence', stamp: { epoch: stamp.epoch, revision: stamp.revision } };
    }
    case undefined:
      return undefined;
  }
}

/** What the shell adds to the core's messages. */
export interface Additions {
  /** What is signed about the members that a view or delta leads to; empty for none. */
  readonly statement: string;
  /** Where enrolment is; 0 for nowhere. */
  readonly enrolPort: number;
}

export function replyToWire(reply: SessionReply, additions: Additions): registry.SessionResponse {
  return { kind: kindOf(reply, additions) };
}

const REFUSALS: Readonly<Record<RefusalCode, registry.RefusalCode>> = {
  version: registry.RefusalCode.REFUSAL_CODE_VERSION,
  'duplicate-id': registry.RefusalCode.REFUSAL_CODE_DUPLICATE_ID,
  invalid: registry.RefusalCode.REFUSAL_CODE_INVALID,
  denied: registry.RefusalCode.REFUSAL_CODE_DENIED,
  'store-unavailable': registry.RefusalCode.REFUSAL_CODE_STORE_UNAVAILABLE,
  shutdown: registry.RefusalCode.REFUSAL_CODE_SHUTDOWN,
};

const ACQUIRES = {
  granted: registry.AcquireCode.ACQUIRE_CODE_GRANTED,
  held: registry.AcquireCode.ACQUIRE_CODE_HELD,
  'stale-incarnation': registry.AcquireCode.ACQUIRE_CODE_STALE_INCARNATION,
  unavailable: registry.AcquireCode.ACQUIRE_CODE_UNAVAILABLE,
} as const;

const RELEASES = {
  done: registry.ReleaseCode.RELEASE_CODE_DONE,
  unavailable: registry.ReleaseCode.RELEASE_CODE_UNAVAILABLE,
} as const;

function kindOf(
  reply: SessionReply,
  { statement, enrolPort }: Additions,
): NonNullable<registry.SessionResponse['kind']> {
  switch (reply.type) {
    case 'welcome':
      return { $case: 'welcome', value: { ...reply, enrolPort } };
    case 'refused':
      return { $case: 'refused', value: { code: REFUSALS[reply.code], detail: reply.detail } };
    case 'heartbeatAck':
      return { $case: 'heartbeatAck', value: { sequence: reply.sequence, leaseValidMs: reply.leaseValidMs } };
    case 'acquired': {
      const { request, token, detail, holder } = reply;
      return { $case: 'acquireResult', value: { request, code: ACQUIRES[reply.code], token, detail, holder } };
    }
    case 'released':
      return { $case: 'releaseResult', value: { request: reply.request, code: RELEASES[reply.code] } };
    case 'view':
      return { $case: 'view', value: viewToWire(reply, statement) };
    case 'viewDelta':
      return { $case: 'viewDelta', value: deltaToWire(reply, statement) };
    case 'evicted':
      return { $case: 'evicted', value: { detail: reply.detail } };
    case 'drainResult':
      return { $case: 'drainResult', value: { recorded: reply.recorded } };
    case 'left':
      return { $case: 'left', value: {} };
  }
}

function viewToWire(view: View, statement: string): registry.View {
  return {
    stamp: view.stamp,
    members: view.members.map(memberToWire),
    claims: view.claims.map(claimToWire),
    statement,
  };
}

function deltaToWire(delta: ViewDelta, statement: string): registry.ViewDelta {
  return {
    from: delta.from,
    to: delta.to,
    members: delta.members.map(memberToWire),
    removedMembers: [...delta.removedMembers],
    claims: delta.claims.map(claimToWire),
    removedClaims: delta.removedClaims.map(({ leaf, proxy, slot }) => ({ leaf, proxy, slot })),
    statement,
  };
}

function memberToWire(member: ViewMember): registry.Member {
  const { peerAddress, tunnelAddress, instanceNonce, software, lease } = member;
  const proxy = {
    id: member.proxy,
    incarnation: member.incarnation,
    state: member.draining ? tunnel.ProxyState.PROXY_STATE_DRAINING : tunnel.ProxyState.PROXY_STATE_READY,
    generation: member.generation,
  };
  return { proxy, peerAddress, tunnelAddress, instanceNonce, software, lease };
}

function claimToWire(claim: ViewClaim): registry.Claim {
  const { leaf, proxy, slot, agent, nonce, incarnation, token } = claim;
  return { leaf, proxy, slot, agent, nonce, incarnation, token };
}
