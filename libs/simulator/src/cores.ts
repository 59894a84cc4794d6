import { DialFence, LeafDiscovery, Liveness, RegistryLink, RootDiscovery } from '@xylem/discovery';
import type {
  LeafConfig,
  LeafEffect,
  LeafEvent,
  LivenessEffect,
  LivenessEvent,
  RegistryEffect as LinkEffect,
  RegistryEvent as LinkEvent,
  RegistryLinkConfig,
  RootConfig,
  RootEffect,
  RootEvent,
} from '@xylem/discovery';
import { RegistryCore } from '@xylem/membership';
import type { RegistryConfig, RegistryEffect, RegistryEvent } from '@xylem/membership';
import type { Host } from './host.ts';
import { LIVENESS } from './messages.ts';

/** What each core offers its shell; the product's classes, or something around or in place of them. */
export type LeafCore = Pick<LeafDiscovery, 'handle' | 'pollEffect' | 'nextTimeout' | 'status'>;
export type RootCore = Pick<RootDiscovery, 'handle' | 'pollEffect' | 'nextTimeout' | 'status' | 'checkInvariants'>;
export type LinkCore = Pick<RegistryLink, 'handle' | 'pollEffect' | 'nextTimeout' | 'status' | 'view'>;
export type RegistryApi = Pick<RegistryCore, 'handle' | 'pollEffect' | 'nextTimeout' | 'status'>;
export type FenceCore = Pick<DialFence, 'admit' | 'raise' | 'check' | 'believes' | 'keepOnly'>;
export type LivenessCore = Pick<Liveness, 'handle' | 'pollEffect' | 'nextTimeout'>;

/** Makes the core of each process at each of its starts. */
export interface CoreMakers {
  readonly leaf: (config: LeafConfig, host: Host) => LeafCore;
  readonly root: (config: RootConfig, host: Host) => RootCore;
  readonly link: (config: RegistryLinkConfig, host: Host) => LinkCore;
  readonly registry: (config: RegistryConfig, host: Host) => RegistryApi;
  /** What an agent holds against dials that come over its tunnels. */
  readonly fence: () => FenceCore;
  readonly agentLiveness: (host: Host) => LivenessCore;
  readonly proxyLiveness: (host: Host) => LivenessCore;
}

/** The very classes that production runs. */
export const PRODUCTION: CoreMakers = {
  leaf: (config, host) => new LeafDiscovery(config, host.random, host.now),
  root: (config, host) => new RootDiscovery(config, host.random, host.now),
  link: (config, host) => new RegistryLink(config, host.random, host.now),
  registry: (config, host) => new RegistryCore(config, host.now),
  fence: () => new DialFence(),
  agentLiveness: (host) => new Liveness(LIVENESS, host.random, host.now),
  proxyLiveness: (host) => new Liveness(LIVENESS, host.random, host.now),
};

/** Stands between a core and its shell. Each part left out lets everything through. */
export interface Tap<Event, Effect> {
  /** What the core is told in place of an event. */
  event?(event: Event, now: number): readonly Event[];
  /** What the shell is asked to do in place of an effect; `tell` hands the core an event at once. */
  effect?(effect: Effect, tell: (event: Event) => void): readonly Effect[];
}

export type LinkTap = Tap<LinkEvent, LinkEffect>;

interface Machine<Event, Effect> {
  handle(event: Event, now: number): void;
  pollEffect(): Effect | undefined;
}

function between<Event, Effect>(core: Machine<Event, Effect>, tap: Tap<Event, Effect>): Machine<Event, Effect> {
  const ready: Effect[] = [];
  let at = 0;
  return {
    handle: (event, now) => {
      at = now;
      for (const told of tap.event?.(event, now) ?? [event]) core.handle(told, now);
    },
    pollEffect: () => {
      while (ready.length === 0) {
        const effect = core.pollEffect();
        if (effect === undefined) return undefined;
        ready.push(...(tap.effect?.(effect, (event) => core.handle(event, at)) ?? [effect]));
      }
      return ready.shift();
    },
  };
}

export function tapLeaf(core: LeafCore, tap: Tap<LeafEvent, LeafEffect>): LeafCore {
  return { ...between(core, tap), nextTimeout: () => core.nextTimeout(), status: () => core.status() };
}

export function tapRoot(core: RootCore, tap: Tap<RootEvent, RootEffect>): RootCore {
  return {
    ...between(core, tap),
    nextTimeout: () => core.nextTimeout(),
    status: () => core.status(),
    checkInvariants: () => core.checkInvariants(),
  };
}

export function tapLink(core: LinkCore, tap: Tap<LinkEvent, LinkEffect>): LinkCore {
  return {
    ...between(core, tap),
    nextTimeout: () => core.nextTimeout(),
    status: () => core.status(),
    view: () => core.view(),
  };
}

export function tapRegistry(core: RegistryApi, tap: Tap<RegistryEvent, RegistryEffect>): RegistryApi {
  return { ...between(core, tap), nextTimeout: () => core.nextTimeout(), status: () => core.status() };
}

export function tapLiveness(core: LivenessCore, tap: Tap<LivenessEvent, LivenessEffect>): LivenessCore {
  return { ...between(core, tap), nextTimeout: () => core.nextTimeout() };
}
