import { PREFIX, PREFIX_END, decodeClaim, parseKey, toFence } from '@xylem/membership';
import type { KeyValue } from '@xylem/membership';
import type { ProxyProcess } from './proxy-process.ts';
import type { World } from './world.ts';

/** Row 11 and S4: what the store has is exactly what there is: members, sessions, claims with their holders and tokens. */
export function storeDiffers(world: World, live: readonly ProxyProcess[]): string | undefined {
  const left = new Map(world.store.list(PREFIX, PREFIX_END).map((kv) => [kv.key, kv]));
  for (const proxy of live) {
    const reason = takeOut(left, proxy);
    if (reason !== undefined) return reason;
  }
  const rest = [...left.keys()].find((key) => parseKey(key).kind !== 'epoch');
  return rest === undefined ? undefined : `${rest} is in the store, and nobody stands for it`;
}

/** Takes what belongs to the proxy out of `left`; returns what is missing or wrong. */
function takeOut(left: Map<string, KeyValue>, proxy: ProxyProcess): string | undefined {
  const status = proxy.root?.status();
  if (status === undefined) return undefined;
  const member = left.get(`${PREFIX}proxies/${proxy.id}`);
  const own = toFence(status.incarnation).createRevision;
  if (member?.createRevision !== own) {
    return `${proxy.id} is registered at ${String(member?.createRevision ?? 'nothing')}, and says ${String(own)}`;
  }
  left.delete(member.key);
  if (!left.delete(`${PREFIX}sessions/${proxy.id}`)) return `${proxy.id} has no session in the store`;
  for (const { leaf, slot, token, state, agent } of status.tunnels) {
    if (state !== 'claimed') continue;
    const key = `${PREFIX}claims/${leaf}/${proxy.id}/${String(slot)}`;
    const kv = left.get(key);
    const recorded: string | undefined = decodeClaim(kv?.value ?? '')?.agent;
    if (kv?.createRevision !== toFence(token).createRevision || recorded !== agent)
      return `${key} is held by ${agent} with token ${String(token)}, which the store does not say`;
    left.delete(key);
  }
  return undefined;
}
