import { PREFIX, PREFIX_END, parseKey } from '@xylem/membership';
import type { AgentProcess } from './agent-process.ts';
import type { ProxyProcess } from './proxy-process.ts';
import type { World } from './world.ts';

const SETTLED: ReadonlySet<string> = new Set(['claimed', 'standby', 'sibling']);

/** What still keeps a healed world from its goal; undefined once every promise of liveness is met. */
export function notConverged(world: World): string | undefined {
  const live = world.liveProxies();
  const leaves = new Set(
    [...world.agents.values()].filter((agent) => agent.brain !== undefined).map((agent) => agent.leaf),
  );
  for (const proxy of live) {
    const status = proxy.root?.status();
    if (status === undefined || !status.registryConnected) return `${proxy.id} has no registry`;
    if (status.unrecorded > 0) return `${proxy.id} has ${String(status.unrecorded)} claims that are not recorded`;
    for (const leaf of leaves) {
      const held = status.tunnels.filter((tunnel) => tunnel.leaf === leaf && tunnel.state === 'claimed');
      if (held.length === 0) return `${proxy.id} is not claimed by ${leaf}`;
      const [claim] = held;
      const agent = [...world.agents.values()].find((candidate) => candidate.agent === claim?.agent);
      const entry = agent?.brain?.status().entries.find((candidate) => candidate.proxy === proxy.id);
      if (entry?.state !== 'claimed' || entry.tunnel !== claim?.tunnel) {
        return `${proxy.id} takes ${String(claim?.agent)} for its holder, which says ${entry?.state ?? 'nothing'}`;
      }
    }
  }
  for (const agent of world.agents.values()) {
    const reason = agentNotConverged(agent, live);
    if (reason !== undefined) return reason;
  }
  return claimsDiffer(world, live);
}

/** Whether an agent knows every live proxy and serves it, or waits behind the one that does. */
function agentNotConverged(agent: AgentProcess, live: readonly ProxyProcess[]): string | undefined {
  const status = agent.brain?.status();
  if (status === undefined) return undefined;
  if (status.wanted > 0) return `${agent.host.name} still seeks ${String(status.wanted)} proxies`;
  const settled = new Set(status.entries.filter(({ state }) => SETTLED.has(state)).map(({ proxy }) => proxy));
  const dead = agent.tunnelEnds().find(({ end }) => end.peerDiedAt !== undefined);
  if (dead !== undefined)
    return `${agent.host.name} takes its tunnel to ${dead.proxy} for alive, whose process is gone`;
  const missing = live.find((proxy) => !settled.has(proxy.id));
  return missing === undefined ? undefined : `${agent.host.name} has no place at ${missing.id}`;
}

/** Rows 11 and S4: the records in the store are exactly the slots of the proxies. */
function claimsDiffer(world: World, live: readonly ProxyProcess[]): string | undefined {
  const recorded = new Set<string>();
  for (const kv of world.store.list(PREFIX, PREFIX_END)) {
    const parsed = parseKey(kv.key);
    if (parsed.kind === 'claim')
      recorded.add(`${parsed.claim.proxy}/${parsed.claim.leaf}/${String(parsed.claim.slot)}`);
  }
  for (const proxy of live) {
    for (const tunnel of proxy.root?.status().tunnels ?? []) {
      if (tunnel.state !== 'claimed') continue;
      const name = `${proxy.id}/${tunnel.leaf}/${String(tunnel.slot)}`;
      if (!recorded.delete(name)) return `${name} is held but not in the store`;
    }
  }
  const [left] = recorded;
  return left === undefined ? undefined : `${left} is in the store but nobody holds it`;
}
