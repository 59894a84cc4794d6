import { isName, isProxyName } from '@xylem/discovery';
import type { AgentId, FencingToken, Incarnation, LeafId, ProxyId, TunnelId } from '@xylem/discovery';

/** Where plain values from configuration and wire become ids: each check narrows the type. */

export function isProxyId(text: string): text is ProxyId {
  return isProxyName(text);
}

export function isLeafId(text: string): text is LeafId {
  return isName(text);
}

export function isAgentId(text: string): text is AgentId {
  return isName(text);
}

export function isTunnelId(text: string): text is TunnelId {
  return text.length > 0 && text.length <= 64;
}

export function isIncarnation(value: bigint): value is Incarnation {
  return value >= 0n;
}

export function isFencingToken(value: bigint): value is FencingToken {
  return value >= 0n;
}
