import type { LeafId, ProxyId } from './ids.ts';
import { isLeafId, isProxyId } from './ids.ts';

/** Everything the registry keeps lives under this prefix; one watch covers it, so all of it has one order. */
export const PREFIX = '/xylem/v1/';
/** First key after the prefix. */
export const PREFIX_END = '/xylem/v10';
export const EPOCH_KEY = '/xylem/v1/epoch';

/** What a replica that has just started asks the others through: whether anybody remembers this store. */
export function continuityKey(boot: string): string {
  return `/xylem/v1/continuity/${boot}`;
}

/** Slots of one (leaf cluster, root proxy) pair are numbered below this. */
export const MAX_SLOTS = 64;

export interface ClaimSlot {
  readonly leaf: LeafId;
  readonly proxy: ProxyId;
  readonly slot: number;
}

export function memberKey(proxy: ProxyId): string {
  return `/xylem/v1/proxies/${proxy}`;
}

export function sessionKey(proxy: ProxyId): string {
  return `/xylem/v1/sessions/${proxy}`;
}

export function claimKey(claim: ClaimSlot): string {
  return `/xylem/v1/claims/${claim.leaf}/${claim.proxy}/${claim.slot}`;
}

export type ParsedKey =
  | { readonly kind: 'epoch' }
  | { readonly kind: 'member'; readonly proxy: ProxyId }
  | { readonly kind: 'session'; readonly proxy: ProxyId }
  | { readonly kind: 'claim'; readonly claim: ClaimSlot }
  | { readonly kind: 'continuity'; readonly boot: string }
  /** Somebody else's key under our prefix. */
  | { readonly kind: 'foreign' };

const FOREIGN: ParsedKey = { kind: 'foreign' };
const SLOT = /^(?:0|[1-9][0-9]?)$/;

export function parseKey(key: string): ParsedKey {
  if (key === EPOCH_KEY) return { kind: 'epoch' };
  if (!key.startsWith(PREFIX)) return FOREIGN;
  const [area, first = '', second = '', third = '', ...rest] = key.slice(PREFIX.length).split('/');
  if (rest.length > 0) return FOREIGN;
  if (area === 'claims') return parseClaim(first, second, third);
  if (second !== '' || third !== '') return FOREIGN;
  if (area === 'continuity') return { kind: 'continuity', boot: first };
  if (!isProxyId(first)) return FOREIGN;
  if (area === 'proxies') return { kind: 'member', proxy: first };
  if (area === 'sessions') return { kind: 'session', proxy: first };
  return FOREIGN;
}

function parseClaim(leaf: string, proxy: string, slot: string): ParsedKey {
  if (!isLeafId(leaf) || !isProxyId(proxy) || !SLOT.test(slot) || Number(slot) >= MAX_SLOTS) return FOREIGN;
  return { kind: 'claim', claim: { leaf, proxy, slot: Number(slot) } };
}
