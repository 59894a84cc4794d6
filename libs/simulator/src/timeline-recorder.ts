import type { CoreMakers } from './cores.ts';
import type { Fault } from './faults.ts';
import type { Host } from './host.ts';
import type { RunReport } from './run.ts';
import { AgentScribe, compareNames } from './timeline-agent.ts';
import { Track } from './timeline-track.ts';
import type { FaultMark, LifeState, Mark, ProcessLane, StoreState, Stretch, Timeline } from './timeline.ts';
import type { TraceLine } from './trace.ts';
import type { World } from './world.ts';

interface Watched {
  readonly host: Host;
  readonly kind: 'agent' | 'proxy' | 'registry';
  readonly life: Track<LifeState>;
  readonly registered: Track<'registered'>;
  readonly draining: () => boolean;
  readonly connected: () => boolean;
}

/** Writes down one run of the simulator for a picture: takes no part in it. */
export class TimelineRecorder {
  readonly #agents = new Map<string, AgentScribe>();
  readonly #watched = new Map<Host, Watched>();
  readonly #store = new Track<StoreState>();
  readonly #storeEvents: Mark[] = [];
  readonly #faults: FaultMark[] = [];
  #world: World | undefined;
  #struck: { readonly fault: Pick<Fault, 'kind' | 'forMs'>; readonly before: ReadonlySet<string> } | undefined;
  #healedAt: number | undefined;

  /** Makes agents' cores that are watched: for `Overrides.cores`. */
  leaf(make: CoreMakers['leaf']): CoreMakers['leaf'] {
    return (config, host) => {
      let scribe = this.#agents.get(host.name);
      if (scribe === undefined) {
        scribe = new AgentScribe(host.name, config.leaf, () => this.#now);
        this.#agents.set(host.name, scribe);
      }
      return scribe.watch(make(config, host));
    };
  }

  /** For `RunOptions.observe`. */
  observe(world: World): () => void {
    this.#world = world;
    const { trace } = world;
    const before = trace.onLine;
    trace.onLine = (line) => {
      before?.(line);
      this.#read(line);
    };
    this.#look();
    return () => this.#look();
  }

  /** The picture's data, once the run is over. */
  timeline(report: RunReport): Timeline {
    const endMs = this.#now;
    const lanes = (kind: Watched['kind']): readonly ProcessLane[] =>
      [...this.#watched.values()]
        .filter((watched) => watched.kind === kind)
        .map(({ host, life, registered }) => ({
          name: host.name,
          life: life.bars(endMs),
          registered: registered.bars(endMs),
        }))
        .sort((one, another) => compareNames(one.name, another.name));
    const agents = [...this.#agents.values()].map((scribe) => scribe.lane(endMs));
    agents.sort((one, another) => compareNames(one.leaf, another.leaf) || compareNames(one.name, another.name));
    return {
      endMs,
      agents,
      proxies: lanes('proxy'),
      registries: lanes('registry'),
      store: this.#store.bars(endMs),
      storeEvents: this.#storeEvents,
      faults: this.#faults.map((fault) => ({ ...fault, to: Math.min(fault.to, this.#healedAt ?? endMs) })),
      stretches: this.#stretches(report, endMs),
      violations: report.violation === undefined ? [] : [report.violation],
    };
  }

  get #now(): number {
    return this.#world?.now ?? 0;
  }

  #stretches({ convergedMs }: RunReport, endMs: number): readonly Stretch[] {
    const healedAt = this.#healedAt;
    if (healedAt === undefined) return [{ label: 'faults strike', from: 0, to: endMs }];
    const faults = { label: 'faults strike', from: 0, to: healedAt };
    if (convergedMs === undefined) return [faults, { label: 'healed, not whole again', from: healedAt, to: endMs }];
    const wholeAt = healedAt + convergedMs;
    return [
      faults,
      { label: `whole again after ${(convergedMs / 1000).toFixed(2)} s`, from: healedAt, to: wholeAt },
      { label: 'quiet minute', from: wholeAt, to: endMs },
    ].filter(({ from, to }) => to > from);
  }

  #read({ who, what }: TraceLine): void {
    if (who === 'store') return void this.#storeEvents.push({ at: this.#now, label: what });
    if (who !== 'chaos') return;
    if (what === 'everything heals') this.#healedAt = this.#now;
    const fault = /^fault (\S+) for (\d+) ms$/.exec(what);
    if (fault?.[1] !== undefined)
      this.#struck = { fault: { kind: fault[1] as Fault['kind'], forMs: Number(fault[2]) }, before: this.#condition() };
  }

  /** After a step: what has changed. */
  #look(): void {
    const world = this.#world;
    if (world === undefined) return;
    for (const agent of world.agents.values())
      this.#meet(
        agent.host,
        'agent',
        () => false,
        () => false,
      );
    for (const proxy of world.proxies.values()) {
      const status = (): { draining: boolean; registryConnected: boolean } | undefined => proxy.root?.status();
      this.#meet(
        proxy.host,
        'proxy',
        () => status()?.draining === true,
        () => status()?.registryConnected === true,
      );
    }
    for (const registry of world.registries.values())
      this.#meet(
        registry.host,
        'registry',
        () => false,
        () => false,
      );
    for (const watched of this.#watched.values()) this.#lookAt(watched);
    const { down, unknownOutcome, lyingKeepalive, watchLagMs } = world.store.lies;
    const [state] = [
      down ? ('down' as const) : undefined,
      unknownOutcome > 0 ? ('unknown-outcomes' as const) : undefined,
      lyingKeepalive > 0 ? ('lying-keepalives' as const) : undefined,
      watchLagMs > 0 ? ('late-watches' as const) : undefined,
    ].filter((lie) => lie !== undefined);
    this.#store.set(this.#now, state);
    this.#blame();
  }

  #meet(host: Host, kind: Watched['kind'], draining: () => boolean, connected: () => boolean): void {
    if (this.#watched.has(host)) return;
    const life = this.#agents.get(host.name)?.life ?? new Track<LifeState>();
    this.#watched.set(host, { host, kind, life, registered: new Track(), draining, connected });
  }

  #lookAt({ host, life, registered, draining, connected, kind }: Watched): void {
    const at = this.#now;
    if (!host.alive) {
      if (life.state === undefined) return;
      life.set(at, undefined);
      registered.set(at, undefined);
      if (kind === 'agent') this.#agents.get(host.name)?.ended();
      return;
    }
    life.set(at, host.paused ? 'paused' : draining() ? 'draining' : 'up');
    registered.set(at, connected() ? 'registered' : undefined);
  }

  /** Names whom the fault of this step struck: whatever is not as it was before. */
  #blame(): void {
    const struck = this.#struck;
    if (struck === undefined) return;
    this.#struck = undefined;
    const after = this.#condition();
    const hit = [...after].filter((fact) => !struck.before.has(fact));
    const at = this.#now;
    const { kind, forMs } = struck.fault;
    this.#faults.push({ kind, from: at, to: INSTANT.has(kind) ? at : at + forMs, detail: hit.join(', ') });
  }

  /** Everything a fault can do to processes and links, as facts that can be compared. */
  #condition(): ReadonlySet<string> {
    const world = this.#world;
    if (world === undefined) return new Set();
    const processes = [...world.agents.values(), ...world.proxies.values(), ...world.registries.values()];
    const hosts = processes.map(({ host }) => host);
    const facts = new Set(hosts.map((host) => `${host.name}${host.alive ? (host.paused ? ' stopped' : '') : ' dead'}`));
    for (const proxy of world.proxies.values())
      if (proxy.root?.status().draining === true) facts.add(`${proxy.id} drains`);
    for (const from of hosts) {
      for (const to of hosts) if (world.network.blocked(from, to)) facts.add(`nothing from ${from.name} to ${to.name}`);
    }
    return facts;
  }
}

/** Faults that happen at once; their length means nothing. */
const INSTANT: ReadonlySet<string> = new Set<Fault['kind']>([
  'proxy-added',
  'proxy-vanish',
  'connection-cut',
  'store-compaction',
  'store-leader-change',
  'store-wrong-revoke',
  'store-restore',
  'watch-break',
]);
