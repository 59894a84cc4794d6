import { assert } from '../shared/assert.ts';
import type { FencingToken, Incarnation, ProxyId, TunnelId } from '../shared/ids.ts';
import type { Deadlines } from '../shared/deadlines.ts';
import type { Instant } from '../shared/time.ts';
import { assertMove, describePhase, isConnected, isWanted, phaseDeadline, tunnelOf, type Phase } from './phase.ts';
import type { PoolEntryStatus } from './types.ts';

/** Names of the agent's deadlines: the phase of an entry, a newcomer's claim, an entry's direct retry, a dial, and three more. */
export type LeafDeadline =
  | `entry:${string}`
  | `candidate:${string}`
  | `dial:${number}`
  | 'knowledge'
  | 'optional'
  | 'relays'
  | 'probe';

export interface Tunnel {
  readonly id: TunnelId;
  readonly proxy: ProxyId;
  incarnation: Incarnation;
  readonly via: ProxyId | undefined;
  /**
   * `current` carries its entry's phase; a `candidate` came while there was a current one and takes over when its claim
   * is granted; `closing` was told to go and serves nobody.
   */
  role: 'current' | 'candidate' | 'closing';
  token: FencingToken;
  /** When a snapshot was last asked for over this tunnel. */
  snapshotAskedAt: Instant | undefined;
  /** When evidence was last shown over this tunnel. */
  evidenceShownAt: Instant | undefined;
}

export interface Entry {
  readonly proxy: ProxyId;
  phase: Phase;
  /** Greatest incarnation vouched for. */
  incarnation: Incarnation;
  generation: number;
  /** Failed or wasted dials since the last new evidence. */
  attempts: number;
  /** The next attempt goes unsteered: the last steered one met somebody else's certificate. */
  unsteered: boolean;
  /** Greatest incarnation that shook hands, and the epoch in which it did. */
  fence: { readonly epoch: bigint; readonly incarnation: Incarnation } | undefined;
  /** The incarnation that announced its drain to us. */
  drained: Incarnation | undefined;
  /** The last tunnel, lost without GOODBYE: the proxy may still believe in it. */
  lost: TunnelId | undefined;
  candidate: TunnelId | undefined;
  /** While relayed: when a direct tunnel is tried next, and how often it was. */
  upgrade: { readonly at: Instant; readonly attempts: number } | undefined;
  /** While its tunnel is relayed by a proxy that is about to stop: when another way is tried next, and how often it was. */
  reroute: { readonly at: Instant; readonly attempts: number } | undefined;
}

/** The proxies an agent knows, and its tunnels. Keeps phases, tunnels and deadlines in step; decides nothing. */
export class Pool {
  readonly #entries = new Map<ProxyId, Entry>();
  /** All entries in order, until one comes or goes; never changed in place, so that loops over it may do both. */
  #sorted: readonly Entry[] | undefined;
  readonly #deadlines: Deadlines<LeafDeadline>;
  readonly tunnels = new Map<TunnelId, Tunnel>();

  constructor(deadlines: Deadlines<LeafDeadline>) {
    this.#deadlines = deadlines;
  }

  get(proxy: ProxyId): Entry | undefined {
    return this.#entries.get(proxy);
  }

  /** The entry that a current or candidate tunnel belongs to. */
  of(tunnel: Tunnel): Entry {
    const entry = this.#entries.get(tunnel.proxy);
    assert(entry !== undefined, `tunnel ${tunnel.id} has no pool entry ${tunnel.proxy}`);
    return entry;
  }

  add(proxy: ProxyId, phase: Phase): Entry {
    assert(!this.#entries.has(proxy), `pool entry ${proxy} exists`);
    const entry: Entry = {
      proxy,
      phase,
      incarnation: 0n as Incarnation,
      generation: 0,
      attempts: 0,
      unsteered: false,
      fence: undefined,
      drained: undefined,
      lost: undefined,
      candidate: undefined,
      upgrade: undefined,
      reroute: undefined,
    };
    this.#entries.set(proxy, entry);
    this.#sorted = undefined;
    this.#deadlines.set(`entry:${proxy}`, phaseDeadline(phase));
    return entry;
  }

  /** The only way a phase changes. */
  move(entry: Entry, phase: Phase): void {
    assertMove(entry.proxy, entry.phase.kind, phase.kind);
    entry.phase = phase;
    this.#deadlines.set(`entry:${entry.proxy}`, phaseDeadline(phase));
    if (phase.kind === 'claimed') return;
    entry.upgrade = undefined;
    if (phase.kind !== 'standby') entry.reroute = undefined;
  }

  remove(entry: Entry): void {
    assert(
      tunnelOf(entry.phase) === undefined && entry.candidate === undefined,
      `pool entry ${entry.proxy} has a tunnel`,
    );
    this.#entries.delete(entry.proxy);
    this.#sorted = undefined;
    this.#deadlines.set(`entry:${entry.proxy}`, undefined);
  }

  setCandidate(entry: Entry, tunnel: TunnelId | undefined, until?: Instant): void {
    entry.candidate = tunnel;
    this.#deadlines.set(`candidate:${entry.proxy}`, until);
  }

  /** The newcomer that waits to take over from the current tunnel. */
  candidateOf(entry: Entry): Tunnel | undefined {
    return entry.candidate === undefined ? undefined : this.tunnels.get(entry.candidate);
  }

  /** The tunnel that carries the entry's phase. */
  currentOf(entry: Entry): Tunnel | undefined {
    const id = tunnelOf(entry.phase);
    if (id === undefined) return undefined;
    const tunnel = this.tunnels.get(id);
    assert(tunnel?.role === 'current', `current tunnel ${id} of ${entry.proxy} is unknown`);
    return tunnel;
  }

  /** Entries in order of id: every loop whose effects leave the machine uses it. */
  sorted(): readonly Entry[] {
    this.#sorted ??= [...this.#entries.values()].sort((a, b) => (a.proxy < b.proxy ? -1 : 1));
    return this.#sorted;
  }

  get size(): number {
    return this.#entries.size;
  }

  count(predicate: (phase: Phase) => boolean): number {
    let count = 0;
    for (const entry of this.#entries.values()) if (predicate(entry.phase)) count += 1;
    return count;
  }

  get wanted(): number {
    return this.count(isWanted);
  }

  /** Proxies that this agent has a tunnel to live on. */
  get connected(): number {
    return this.count(isConnected);
  }

  describe(entry: Entry): PoolEntryStatus {
    const tunnel = this.currentOf(entry);
    return {
      proxy: entry.proxy,
      incarnation: tunnel?.incarnation ?? entry.incarnation,
      ...describePhase(entry.phase),
      via: tunnel?.via,
      tunnel: tunnel?.id,
      token: tunnel?.token ?? (0n as FencingToken),
    };
  }
}
