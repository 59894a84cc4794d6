import { DialFence, RootDiscovery, defaultRootConfig } from '@xylem/discovery';
import type { Admission, FenceMark, ProxyId, Random, RootEffect, RootEvent, RootStatus } from '@xylem/discovery';
import { DEFAULT_REGISTRY_CONFIG, RegistryCore } from '@xylem/membership';
import type { RegistryEffect, RegistryEvent } from '@xylem/membership';
import { tapRegistry } from '../cores.ts';
import type { RegistryApi } from '../cores.ts';
import type { Machine } from './automaton.ts';
import type { Guard } from './guards.ts';

export const PROXY = 'p' as ProxyId;

/** The clock of every core stands here: what is due at once runs at once, what waits is never waited for. */
const NOW = 0;

interface Timed<Event, Effect> {
  handle(event: Event | { readonly type: 'timeout' }, now: number): void;
  pollEffect(): Effect | undefined;
  nextTimeout(): number | undefined;
}

function tell<Event, Effect>(core: Timed<Event, Effect>, event: Event): Effect[] {
  const effects: Effect[] = [];
  const drain = (): void => {
    for (let effect = core.pollEffect(); effect !== undefined; effect = core.pollEffect()) effects.push(effect);
  };
  core.handle(event, NOW);
  drain();
  for (let next = core.nextTimeout(); next !== undefined && next <= NOW; next = core.nextTimeout()) {
    core.handle({ type: 'timeout' }, NOW);
    drain();
  }
  return effects;
}

/** Runs a core through one event and all that is due at once. */
function machine<Event, Effect, View>(core: Timed<Event, Effect>, view: () => View): Machine<Event, Effect, View> {
  let effects: Effect[] = [];
  return {
    handle: (event) => {
      effects = tell(core, event);
    },
    pollEffect: () => effects.shift(),
    view,
  };
}

/** The claim core of one instance of the root proxy; `instance` tells their nonces apart. */
export function rootMachine(instance: number): Machine<RootEvent, RootEffect, RootStatus> {
  const random: Random = { next: (site) => (site === 'grant-tag' ? (instance + 1) / 16 : 0) };
  const core = new RootDiscovery(defaultRootConfig(PROXY), random, NOW);
  return machine(core, () => {
    core.checkInvariants();
    return core.status();
  });
}

export type FenceEvent =
  | { readonly type: 'admitted'; readonly incarnation: bigint }
  | { readonly type: 'raised'; readonly mark: FenceMark }
  | { readonly type: 'dialled'; readonly mark: FenceMark; readonly admission: Admission };

export type FenceEffect =
  | { readonly type: 'admission'; readonly admission: Admission }
  | { readonly type: 'verdict'; readonly served: boolean };

/** The fence of one agent against dials from the past. */
export function fenceMachine(): Machine<FenceEvent, FenceEffect, undefined> {
  const fence = new DialFence();
  let effect: FenceEffect | undefined;
  return {
    handle: (event) => {
      if (event.type === 'admitted') effect = { type: 'admission', admission: fence.admit(PROXY, event.incarnation) };
      else if (event.type === 'raised') fence.raise(PROXY, event.mark);
      else effect = { type: 'verdict', served: fence.check(PROXY, event.mark, event.admission) === undefined };
    },
    pollEffect: () => {
      const done = effect;
      effect = undefined;
      return done;
    },
    view: () => undefined,
  };
}

/** A registry replica. Its first effects, from its construction, come with the first event. */
export function registryMachine(guard: Guard | undefined): Machine<RegistryEvent, RegistryEffect, undefined> {
  const config = { ...DEFAULT_REGISTRY_CONFIG, registry: 'r', boot: 'r-1', storeName: 'the store' };
  let core: RegistryApi = new RegistryCore(config, NOW);
  if (guard?.registry !== undefined) core = tapRegistry(core, guard.registry());
  return machine(core, () => undefined);
}
