import { isName, isProxyName } from '@xylem/discovery';
import type {
  AgentId,
  ClaimKey,
  ClaimRecord,
  FencingToken,
  Incarnation,
  InstanceNonce,
  LeafId,
  Member,
  MemberClaim,
  ProxyId,
  RegistryEvent,
  RegistryRefusal,
  Stamp,
  View,
  ViewDelta,
} from '@xylem/discovery';
import { registry as wire, tunnel } from '@xylem/wire';

/** Answers about claims, which concern RootDiscovery; all else concerns RegistryLink. */
export type ClaimAnswer =
  | { readonly type: 'claimRecorded'; readonly request: number; readonly token: FencingToken }
  | {
      readonly type: 'claimRefused';
      readonly request: number;
      readonly cause: 'held' | 'stale-incarnation';
      readonly holder: ClaimRecord | undefined;
    }
  | { readonly type: 'claimUnknown'; readonly request: number }
  | { readonly type: 'claimReleased'; readonly request: number }
  | { readonly type: 'releaseUnknown'; readonly request: number };

export type SessionMessage =
  | { readonly kind: 'link'; readonly event: RegistryEvent }
  | { readonly kind: 'claim'; readonly answer: ClaimAnswer }
  | { readonly kind: 'security'; readonly security: wire.Security }
  /** A registry's statement, for agents: not read here. */
  | { readonly kind: 'revokedProxies'; readonly statement: string }
  /** Of a later version, or malformed: nothing we can use. */
  | { readonly kind: 'unknown' };

const { AcquireCode, RefusalCode, ReleaseCode } = wire;

const REFUSALS: ReadonlyMap<wire.RefusalCode, RegistryRefusal> = new Map([
  [RefusalCode.REFUSAL_CODE_VERSION, 'version'],
  [RefusalCode.REFUSAL_CODE_DUPLICATE_ID, 'duplicate-id'],
  [RefusalCode.REFUSAL_CODE_INVALID, 'invalid'],
  [RefusalCode.REFUSAL_CODE_DENIED, 'denied'],
  [RefusalCode.REFUSAL_CODE_STORE_UNAVAILABLE, 'store-unavailable'],
  [RefusalCode.REFUSAL_CODE_SHUTDOWN, 'shutdown'],
]);

/** A message of a registry session in the words of the cores. Names are checked here; a stranger's entry is left out. */
export function readMessage(message: wire.SessionResponse, session: number): SessionMessage {
  const { kind } = message;
  switch (kind?.$case) {
    case 'acquireResult':
      return { kind: 'claim', answer: acquired(kind.value) };
    case 'releaseResult':
      return { kind: 'claim', answer: released(kind.value) };
    case 'security':
      return { kind: 'security', security: kind.value };
    case 'revokedProxies':
      return { kind: 'revokedProxies', statement: kind.value.statement };
    default: {
      const event = linkEvent(kind, session);
      return event === undefined ? { kind: 'unknown' } : { kind: 'link', event };
    }
  }
}

function linkEvent(kind: wire.SessionResponse['kind'], session: number): RegistryEvent | undefined {
  switch (kind?.$case) {
    case 'welcome': {
      const { registry, incarnation, lease, leaseTtlMs, heartbeatIntervalMs } = kind.value;
      return {
        type: 'welcomed',
        session,
        registry,
        incarnation: incarnation as Incarnation,
        lease,
        leaseTtlMs,
        heartbeatIntervalMs,
      };
    }
    case 'refused':
      return { type: 'refused', session, code: REFUSALS.get(kind.value.code) ?? 'invalid', detail: kind.value.detail };
    case 'heartbeatAck':
      return { type: 'heartbeatAcked', session, sequence: kind.value.sequence, leaseValidMs: kind.value.leaseValidMs };
    case 'evicted':
      return { type: 'evicted', session, detail: kind.value.detail };
    case 'view':
      return { type: 'viewReceived', session, view: viewOf(kind.value) };
    case 'viewDelta':
      return { type: 'viewDeltaReceived', session, delta: deltaOf(kind.value) };
    case 'drainResult':
      return { type: 'drainAnswered', session, recorded: kind.value.recorded };
    case 'left':
      return { type: 'left', session };
    default:
      return undefined;
  }
}

function acquired({ request, code, token, holder }: wire.AcquireResult): ClaimAnswer {
  const number = Number(request);
  switch (code) {
    case AcquireCode.ACQUIRE_CODE_GRANTED:
      return { type: 'claimRecorded', request: number, token: token as FencingToken };
    case AcquireCode.ACQUIRE_CODE_HELD:
      return { type: 'claimRefused', request: number, cause: 'held', holder: recordOf(holder) };
    case AcquireCode.ACQUIRE_CODE_STALE_INCARNATION:
      return { type: 'claimRefused', request: number, cause: 'stale-incarnation', holder: undefined };
    default:
      return { type: 'claimUnknown', request: number };
  }
}

function recordOf(claim: wire.Claim | undefined): ClaimRecord | undefined {
  if (claim === undefined) return undefined;
  const { agent, nonce, incarnation, token } = claim;
  return { agent: agent as AgentId, nonce, incarnation: incarnation as Incarnation, token: token as FencingToken };
}

function released({ request, code }: wire.ReleaseResult): ClaimAnswer {
  const done = code === ReleaseCode.RELEASE_CODE_DONE;
  return { type: done ? 'claimReleased' : 'releaseUnknown', request: Number(request) };
}

function viewOf(view: wire.View): View {
  return {
    stamp: stampOf(view.stamp),
    members: view.members.flatMap(memberOf),
    claims: view.claims.flatMap(claimOf),
    ...signedOf(view),
  };
}

function deltaOf(delta: wire.ViewDelta): ViewDelta {
  return {
    from: stampOf(delta.from),
    to: stampOf(delta.to),
    members: delta.members.flatMap(memberOf),
    removedMembers: delta.removedMembers.map((proxy) => proxy as ProxyId),
    claims: delta.claims.flatMap(claimOf),
    removedClaims: delta.removedClaims.map(keyOf),
    ...signedOf(delta),
  };
}

function signedOf({ statement }: { readonly statement: string }): { readonly statement?: string } {
  return statement === '' ? {} : { statement };
}

function memberOf(member: wire.Member): Member[] {
  const { proxy, peerAddress, tunnelAddress, instanceNonce, software } = member;
  if (proxy === undefined || !isProxyName(proxy.id)) return [];
  const state = proxy.state === tunnel.ProxyState.PROXY_STATE_DRAINING ? 'draining' : 'ready';
  const record = {
    id: proxy.id as ProxyId,
    incarnation: proxy.incarnation as Incarnation,
    state,
    generation: proxy.generation,
  } as const;
  return [{ record, peerAddress, tunnelAddress, instanceNonce: instanceNonce as InstanceNonce, software }];
}

function claimOf(claim: wire.Claim): MemberClaim[] {
  const { leaf, proxy, slot, agent, nonce, incarnation, token } = claim;
  if (!isName(leaf) || !isProxyName(proxy)) return [];
  return [
    {
      ...keyOf({ leaf, proxy, slot }),
      agent: agent as AgentId,
      nonce,
      incarnation: incarnation as Incarnation,
      token: token as FencingToken,
    },
  ];
}

function keyOf({ leaf, proxy, slot }: wire.ClaimKey): ClaimKey {
  return { leaf: leaf as LeafId, proxy: proxy as ProxyId, slot };
}

function stampOf(stamp: tunnel.Stamp | undefined): Stamp {
  return { epoch: stamp?.epoch ?? 0n, revision: stamp?.revision ?? 0n };
}
