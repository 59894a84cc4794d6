import { EPOCH_KEY, decodeEpoch } from '@xylem/membership';
import type { AgentProcess } from './agent-process.ts';
import type { ProxyProcess } from './proxy-process.ts';
import { storeDiffers } from './store-convergence.ts';
import type { World } from './world.ts';

const SETTLED: ReadonlySet<string> = new Set(['claimed', 'standby', 'sibling']);

/** What still keeps a healed world from its goal; undefined once every promise of liveness is met. */
export function notConverged(world: World): string | undefined {
  const live = world.liveProxies();
  const names = live.map((proxy) => proxy.id as string).sort();
  return (
    first(world.proxies.values(), leaving) ??
    first(live, (proxy) => proxyNotConverged(world, proxy, names)) ??
    first(world.agents.values(), (agent) => remembersMore(world, agent) ?? agentNotConverged(agent, names)) ??
    storeDiffers(world, live)
  );
}

function first<T>(items: Iterable<T>, check: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const reason = check(item);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** A drain ends, within its deadline. */
function leaving(proxy: ProxyProcess): string | undefined {
  const isLeaving = proxy.host.alive && proxy.root?.status().draining === true;
  return isLeaving ? `${proxy.id} has not left yet` : undefined;
}

function proxyNotConverged(world: World, proxy: ProxyProcess, names: readonly string[]): string | undefined {
  const status = proxy.root?.status();
  if (status === undefined || !status.registryConnected) return `${proxy.id} has no registry`;
  const known = (proxy.link?.view()?.snapshot().proxies ?? []).map(({ id }) => id as string).sort();
  if (known.join() !== names.join()) return `${proxy.id} knows (${known.join()}), and (${names.join()}) are there`;
  if (status.unrecorded > 0) return `${proxy.id} has ${String(status.unrecorded)} claims that are not recorded`;
  const dead = proxy.tunnelEnds().find(({ end }) => end.peerDiedAt !== undefined);
  if (dead !== undefined) return `${proxy.id} takes its tunnel of ${dead.agent} for alive, whose process is gone`;
  const running = [...world.agents.values()].filter((agent) => agent.brain !== undefined);
  return first(new Set(running.map((agent) => agent.leaf)), (leaf) => notHeld(world, proxy, leaf));
}

/** L1: somebody of the leaf cluster holds the proxy, and both agree who. */
function notHeld(world: World, proxy: ProxyProcess, leaf: string): string | undefined {
  const claim = proxy.root?.status().tunnels.find((tunnel) => tunnel.leaf === leaf && tunnel.state === 'claimed');
  if (claim === undefined) return `${proxy.id} is not claimed by ${leaf}`;
  const agent = [...world.agents.values()].find((candidate) => candidate.agent === claim.agent);
  const entry = agent?.brain?.status().entries.find((candidate) => candidate.proxy === proxy.id);
  if (entry?.state === 'claimed' && entry.tunnel === claim.tunnel) return undefined;
  return `${proxy.id} takes ${claim.agent} for its holder, which says ${entry?.state ?? 'nothing'}`;
}

/** An agent knows exactly the live proxies, and serves each or waits behind the one that does. */
function agentNotConverged(agent: AgentProcess, live: readonly string[]): string | undefined {
  const status = agent.brain?.status();
  if (status === undefined) return undefined;
  const { name } = agent.host;
  const dead = agent.tunnelEnds().find(({ end }) => end.peerDiedAt !== undefined);
  if (dead !== undefined) return `${name} takes its tunnel to ${dead.proxy} for alive, whose process is gone`;
  const known = status.entries.filter(({ state }) => state !== 'gone');
  const missing = live.find((proxy) => !known.some((entry) => entry.proxy === proxy && SETTLED.has(entry.state)));
  if (missing !== undefined) return `${name} has no place at ${missing}`;
  const departed = known.find(({ proxy }) => !live.includes(proxy));
  return departed === undefined ? undefined : `${name} takes ${departed.proxy} for ${departed.state}, which is no more`;
}

/**
 * Why agents may take longer; undefined when nothing allows it. What nobody vouches for any more expires after three minutes only, for
 * an omission is no evidence:
 * - a root proxy that is gone, and the life of it that they met last was never registered: no membership can speak of it;
 * - a balancer whose health checks lag for minutes, for who has lost every tunnel and knows no living name: chance decides.
 */
export function patience(world: World): string | undefined {
  const [stale] = world.balancer.policy === 'stale-health' ? world.staleBackends() : [];
  if (stale !== undefined) return `the balancer takes ${stale} for alive`;
  return first(world.agents.values(), (agent) => {
    const known = agent.brain?.status().entries.filter(({ state }) => state !== 'gone') ?? [];
    const unheard = known.find(({ proxy }) => {
      const life = agent.lastMet(proxy);
      const isGone = !world.instances(proxy).some(({ host }) => host.alive);
      return isGone && life !== undefined && !world.registeredLives.has(life);
    });
    return unheard && `${agent.host.name} met a life of ${unheard.proxy} that was never registered`;
  });
}

/** Whether an agent believes in a state of the store that is no more. */
function remembersMore(world: World, agent: AgentProcess): string | undefined {
  const stamp = agent.brain?.status().stamp;
  if (stamp === undefined) return undefined;
  const { epoch, revision } = stamp;
  const present = decodeEpoch(world.store.list(EPOCH_KEY, `${EPOCH_KEY}\0`)[0]?.value ?? '') ?? 0n;
  if (epoch <= present && revision <= world.store.store.revision) return undefined;
  return `${agent.host.name} believes in revision ${String(revision)} of epoch ${String(epoch)}`;
}
