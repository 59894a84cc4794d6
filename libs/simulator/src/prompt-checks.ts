import { parseKey, toFence } from '@xylem/membership';
import type { ProxyProcess } from './proxy-process.ts';
import type { StoreChecks } from './store-checks.ts';
import type { World } from './world.ts';

/** What a promise allows to be wrong for so long while nothing is broken, virtual milliseconds. */
const BOUNDS = {
  /** L5: a root proxy without a session, with a registry that answers. The ceiling of its backoff. */
  session: 6_000,
  /** L4: a claim that is not recorded. */
  record: 5_000,
  /** S4: a record whose tunnel has gone. */
  orphan: 1_000,
} as const;

/** Watches what may be wrong for a while only. It has to be asked often: what is wrong at two looks was so in between. */
export class PromptChecks {
  readonly #world: World;
  readonly #store: StoreChecks;
  readonly #fail: (promise: string, detail: string) => void;
  /** Since when each thing is wrong, by its description. */
  #since = new Map<string, number>();

  constructor(world: World, store: StoreChecks, fail: (promise: string, detail: string) => void) {
    this.#world = world;
    this.#store = store;
    this.#fail = fail;
  }

  /** `calm`: nothing is broken, and what was has had its time. Only what recovers by itself is promised otherwise. */
  look(calm: boolean): void {
    const before = this.#since;
    this.#since = new Map();
    const note = (promise: string, what: string, boundMs: number): void => {
      const since = before.get(what) ?? this.#world.now;
      this.#since.set(what, since);
      const ms = this.#world.now - since;
      if (ms > boundMs) this.#fail(promise, `${what}, for ${ms.toFixed(0)} ms while nothing is broken`);
    };
    for (const proxy of this.#world.liveProxies()) {
      if (proxy.link?.status().state !== 'connected') {
        if (calm) note('L5', `${proxy.id} has no registry`, BOUNDS.session);
      } else if ((proxy.root?.status().unrecorded ?? 0) > 0 && this.#mayRecord(proxy))
        note('L4', `${proxy.id} has claims that are not recorded`, BOUNDS.record);
    }
    if (calm) for (const what of this.#orphans()) note('S4', what, BOUNDS.orphan);
  }

  /** Nothing is in the way from the proxy to the store and back. */
  #mayRecord(proxy: ProxyProcess): boolean {
    const { store, network, registries } = this.#world;
    const { down, unknownOutcome, watchLagMs, lyingKeepalive } = store.lies;
    if (down || unknownOutcome > 0 || watchLagMs > 0 || lyingKeepalive > 0) return false;
    return [...registries.values()].every(
      ({ host }) => host.alive && !host.paused && !network.blockedWithin(proxy.host, host, 0),
    );
  }

  /** Records of live root proxies that no tunnel of theirs stands for. */
  #orphans(): readonly string[] {
    return this.#store.claims.flatMap(({ key, createRevision }) => {
      const parsed = parseKey(key);
      if (parsed.kind !== 'claim') return [];
      const { leaf, proxy: name, slot } = parsed.claim;
      const proxy = this.#world.instances(name).find(isUp);
      if (proxy === undefined) return [];
      const held = proxy.root
        ?.status()
        .tunnels.find((tunnel) => tunnel.leaf === (leaf as string) && tunnel.slot === slot);
      if (held !== undefined && (held.token === 0n || toFence(held.token).createRevision === createRevision)) return [];
      return [`${key} at ${String(createRevision)} stands for no tunnel`];
    });
  }
}

function isUp(proxy: ProxyProcess): boolean {
  return proxy.host.alive && !proxy.host.paused && proxy.link?.status().state === 'connected';
}
