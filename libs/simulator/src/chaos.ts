import type { StoreState } from '@xylem/store';
import type { AgentProcess } from './agent-process.ts';
import type { Fault } from './faults.ts';
import type { Host } from './host.ts';
import type { ProxyProcess } from './proxy-process.ts';
import type { RegistryProcess } from './registry-process.ts';
import type { World } from './world.ts';

const BACKUP_INTERVAL_MS = 7_000;
/** More proxies than this are not added: a simulation has to end. */
const MAX_PROXIES = 12;

/** After the last fault: leases lapse (10 s), requests of unknown outcome land (6 s), pauses between attempts end (5 s). */
const SETTLE_MS = 22_000;

/** How long a root proxy that was replaced goes on before somebody notices. */
const ZOMBIE_MS = 10_000;

type Process = ProxyProcess | AgentProcess | RegistryProcess;

/** Carries out a plan of faults on a world, and heals it again. */
export class Chaos {
  readonly #world: World;
  /** What an operator would have as backups: one state every few seconds. */
  readonly #backups: StoreState[] = [];
  readonly #ended = new Set<ProxyProcess>();
  /** Root proxies that were replaced while they were stopped. */
  readonly #zombies = new Set<ProxyProcess>();
  readonly #toRestart = new Set<Process>();
  #healed = false;
  #calmFrom = 0;

  constructor(world: World, faults: readonly Fault[]) {
    this.#world = world;
    for (const fault of faults) world.scheduler.at(fault.at, () => this.#strike(fault));
    this.#backup();
  }

  /** Ends every fault: all runs again that was not taken away for good. Violations of liveness count from here. */
  heal(): void {
    const world = this.#world;
    this.#healed = true;
    if (!this.calm) this.#calmFrom = world.now + SETTLE_MS;
    world.quiet = true;
    this.#note('everything heals');
    Object.assign(world.store.lies, { down: false, unknownOutcome: 0, lyingKeepalive: 0, watchLagMs: 0, rivals: 0 });
    world.gossip.quiet();
    world.network.healAll();
    for (const agent of [...world.agents.values()]) {
      if (agent.host.name !== agent.agent) this.#remove(agent);
    }
    for (const zombie of this.#zombies) this.#bury(zombie);
    for (const process of this.#processes()) {
      if (process.host.paused) process.host.resume();
    }
    for (const process of [...this.#toRestart]) this.#restart(process);
    if (world.liveProxies().length === 0) world.addProxy();
  }

  /** Nothing is broken, and what was has had its time: promises that hold while all is well hold now. */
  get calm(): boolean {
    return this.#world.now >= this.#calmFrom;
  }

  #processes(): readonly Process[] {
    const { registries, proxies, agents } = this.#world;
    return [...registries.values(), ...proxies.values(), ...agents.values()];
  }

  #backup(): void {
    this.#backups.push(this.#world.store.snapshot());
    this.#world.scheduler.after(BACKUP_INTERVAL_MS, () => {
      if (!this.#healed) this.#backup();
    });
  }

  #strike(fault: Fault): void {
    if (this.#healed) return;
    this.#calmFrom = Math.max(this.#calmFrom, this.#world.now + fault.forMs + ZOMBIE_MS + SETTLE_MS);
    this.#note(`fault ${fault.kind} for ${fault.forMs.toFixed(0)} ms`);
    switch (fault.kind) {
      case 'proxy-crash':
        return this.#crash(this.#pick(this.#runningProxies(), fault.victim), fault.forMs, false);
      case 'proxy-vanish':
        return this.#crash(this.#pick(this.#runningProxies(), fault.victim), undefined, true);
      case 'proxy-pause':
        return this.#pause(this.#pick(this.#runningProxies(), fault.victim), fault.forMs);
      case 'proxy-added':
        if (this.#world.proxies.size < MAX_PROXIES) this.#world.addProxy(fault.other < 0.5 ? 0 : 1);
        return;
      case 'proxy-drain':
        return this.#drain(this.#pick(this.#runningProxies(), fault.victim), fault.forMs);
      case 'proxy-zombie':
        return this.#zombie(this.#pick(this.#runningProxies(), fault.victim), fault.forMs);
      case 'agent-crash':
        return this.#crash(this.#pick(this.#world.agents.values(), fault.victim), fault.forMs, false);
      case 'agent-vanish':
        return this.#crash(this.#pick(this.#world.agents.values(), fault.victim), fault.forMs, true);
      case 'agent-pause':
        return this.#pause(this.#pick(this.#world.agents.values(), fault.victim), fault.forMs);
      case 'agent-clone':
        return this.#clone(this.#pick(this.#originals(), fault.victim), fault.forMs);
      case 'registry-crash':
        return this.#crash(this.#pick(this.#world.registries.values(), fault.victim), fault.forMs, false);
      case 'registry-pause':
        return this.#pause(this.#pick(this.#world.registries.values(), fault.victim), fault.forMs);
      case 'link-blocked':
        return this.#block(fault, true);
      case 'link-one-way':
        return this.#block(fault, false);
      case 'connection-cut':
        return this.#pick(this.#world.network.connections(), fault.victim)?.cut();
      case 'gossip-chaos':
        Object.assign(this.#world.gossip, {
          dropChance: fault.victim * 0.5,
          duplicateChance: fault.other * 0.5,
          maxDelayMs: 3_000,
        });
        return this.#later(fault.forMs, () => this.#world.gossip.quiet());
      default:
        return this.#strikeStore(fault);
    }
  }

  #strikeStore(fault: Fault): void {
    const { store } = this.#world;
    const lie = <K extends keyof typeof store.lies>(
      name: K,
      value: (typeof store.lies)[K],
      after: (typeof store.lies)[K],
    ): void => {
      store.lies[name] = value;
      this.#later(fault.forMs, () => void (store.lies[name] = after));
    };
    switch (fault.kind) {
      case 'store-down':
        return lie('down', true, false);
      case 'store-unknown':
        return lie('unknownOutcome', 0.1 + fault.victim * 0.6, 0);
      case 'store-lying-keepalive':
        return lie('lyingKeepalive', 1, 0);
      case 'store-watch-lag':
        return lie('watchLagMs', 5_000 * fault.victim, 0);
      case 'store-compaction':
        return store.compact();
      case 'store-leader-change':
        return store.changeLeader();
      case 'store-wrong-revoke':
        return void store.revokeWrongly();
      case 'store-claim-deleted':
        return store.deleteClaim();
      case 'store-rival-claim':
        return void (store.lies.rivals += 1);
      case 'watch-break':
        return store.breakWatches('broken');
      case 'store-restore':
        return this.#restore(fault);
      case 'all-rebuilt':
        for (const proxy of this.#runningProxies()) this.#crash(proxy, fault.forMs / 10, false);
        for (const registry of this.#world.registries.values()) this.#crash(registry, fault.forMs / 10, false);
        // The first one is of an empty store: that is none.
        return this.#restore(fault, this.#backups.slice(1));
      case 'store-rebuilt':
        for (const registry of this.#world.registries.values()) this.#crash(registry, fault.forMs / 10, false);
        return this.#restore(fault);
      default:
        throw new Error(`no such fault of the store: ${fault.kind}`);
    }
  }

  #restore(fault: Fault, backups: readonly StoreState[] = this.#backups): void {
    const state = this.#pick(backups, fault.victim);
    if (state !== undefined) this.#world.store.restore(state);
  }

  #crash(process: Process | undefined, restartMs: number | undefined, silently: boolean): void {
    if (process === undefined || !process.host.alive) return;
    this.#world.crash(process, silently);
    if (restartMs === undefined) return;
    this.#toRestart.add(process);
    this.#later(restartMs, () => this.#restart(process));
  }

  #restart(process: Process): void {
    if (this.#toRestart.delete(process) && !process.host.alive && !this.#isRemoved(process)) process.start();
  }

  #isRemoved(process: Process): boolean {
    return 'leaf' in process && this.#world.agents.get(process.host.name) !== process;
  }

  #pause(process: Process | undefined, forMs: number): void {
    if (process === undefined || !process.host.alive || process.host.paused) return;
    process.host.pause();
    const { generation } = process.host;
    this.#later(forMs, () => {
      if (process.host.generation === generation && process.host.paused) process.host.resume();
    });
  }

  #drain(proxy: ProxyProcess | undefined, deadlineMs: number): void {
    if (proxy === undefined || this.#world.liveProxies().length < 2) return;
    proxy.drain(1_000, deadlineMs, () => {
      if (this.#ended.has(proxy)) return;
      this.#ended.add(proxy);
      this.#world.crash(proxy);
    });
  }

  /** A root proxy is stopped, taken for dead and started elsewhere; then it goes on for a while. */
  #zombie(old: ProxyProcess | undefined, forMs: number): void {
    if (old === undefined || old.host.paused || this.#zombies.has(old)) return;
    this.#zombies.add(old);
    this.#pause(old, forMs);
    this.#world.replaceProxy(old);
    this.#later(forMs + ZOMBIE_MS, () => this.#bury(old));
  }

  #bury(zombie: ProxyProcess): void {
    this.#toRestart.delete(zombie);
    if (this.#world.proxies.delete(zombie.host.name)) this.#world.crash(zombie);
  }

  /** A second instance with the first one's name: a copied configuration. */
  #clone(original: AgentProcess | undefined, forMs: number): void {
    if (original === undefined) return;
    const name = `${original.agent}-clone`;
    if (this.#world.agents.has(name)) return;
    const clone = this.#world.addAgent(original.leaf, original.agent, name);
    this.#later(forMs, () => this.#remove(clone));
  }

  #remove(clone: AgentProcess): void {
    if (this.#world.agents.delete(clone.host.name)) this.#world.crash(clone);
  }

  #originals(): readonly AgentProcess[] {
    return [...this.#world.agents.values()].filter((agent) => agent.host.name === agent.agent);
  }

  #block(fault: Fault, bothWays: boolean): void {
    const hosts: readonly Host[] = this.#processes().map((process) => process.host);
    const one = this.#pick(hosts, fault.victim);
    const another = this.#pick(
      hosts.filter((host) => host !== one),
      fault.other,
    );
    if (one === undefined || another === undefined) return;
    const { network } = this.#world;
    network.block(one, another);
    if (bothWays) network.block(another, one);
    this.#later(fault.forMs, () => {
      network.heal(one, another);
      network.heal(another, one);
    });
  }

  #runningProxies(): readonly ProxyProcess[] {
    return [...this.#world.proxies.values()].filter((proxy) => proxy.host.alive);
  }

  #pick<T>(items: Iterable<T>, at: number): T | undefined {
    const list = [...items];
    return list[Math.floor(at * list.length)];
  }

  #later(ms: number, work: () => void): void {
    this.#world.scheduler.after(ms, () => {
      if (!this.#healed) work();
    });
  }

  #note(what: string): void {
    this.#world.trace.add(this.#world.now, 'chaos', what);
  }
}
