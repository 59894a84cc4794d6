import { assert } from '../shared/assert.ts';
import type { LeafId } from '../shared/ids.ts';
import { moveTunnel, type RootTunnel } from './tunnels.ts';

interface LeafSlots {
  readonly holders: (RootTunnel | undefined)[];
  /** Longest-waiting first. */
  readonly standbys: RootTunnel[];
}

/**
 * Who holds the claim slots of this proxy, per leaf cluster. Decided in memory, in the turn of the event, so that
 * exclusivity depends on no clock and no store. S1: at most one tunnel per (leaf cluster, slot), asserted here.
 */
export class ClaimSlots {
  readonly #claimsPerProxy: number;
  readonly #leaves = new Map<LeafId, LeafSlots>();

  constructor(claimsPerProxy: number) {
    this.#claimsPerProxy = claimsPerProxy;
  }

  /** The lowest free slot; undefined when every one is held. */
  freeSlot(leaf: LeafId): number | undefined {
    const holders = this.#leaves.get(leaf)?.holders ?? [];
    for (let slot = 0; slot < this.#claimsPerProxy; slot += 1) if (holders[slot] === undefined) return slot;
    return undefined;
  }

  /** Whether the agent serves this proxy already: one agent never holds two slots. */
  holdsOne(tunnel: RootTunnel): boolean {
    const holders = this.#leaves.get(tunnel.leaf)?.holders ?? [];
    return holders.some((holder) => holder !== undefined && holder !== tunnel && holder.agent === tunnel.agent);
  }

  /** Who holds the lowest slot. */
  firstHolder(leaf: LeafId): RootTunnel | undefined {
    return this.#leaves.get(leaf)?.holders.find((holder) => holder !== undefined);
  }

  occupy(tunnel: RootTunnel, slot: number): void {
    const leaf = this.#leaf(tunnel.leaf);
    const holder = leaf.holders[slot];
    assert(slot >= 0 && slot < this.#claimsPerProxy, `slot ${slot} does not exist`);
    assert(
      holder === undefined,
      `S1: slot ${slot} of ${tunnel.leaf} is held by ${holder?.id}, not free for ${tunnel.id}`,
    );
    assert(!leaf.holders.includes(tunnel), `S1: tunnel ${tunnel.id} holds a slot of ${tunnel.leaf} already`);
    assert(!this.holdsOne(tunnel), `S1: agent ${tunnel.agent} of ${tunnel.leaf} would hold two slots`);
    this.#unqueue(leaf, tunnel);
    leaf.holders[slot] = tunnel;
    moveTunnel(tunnel, { kind: 'claimed', slot });
  }

  /** Gives up whatever the tunnel holds or waits for. Returns the slot that became free. */
  vacate(tunnel: RootTunnel): number | undefined {
    const leaf = this.#leaves.get(tunnel.leaf);
    if (leaf === undefined) return undefined;
    this.#unqueue(leaf, tunnel);
    const slot = leaf.holders.indexOf(tunnel);
    if (slot >= 0) leaf.holders[slot] = undefined;
    if (leaf.standbys.length === 0 && leaf.holders.every((holder) => holder === undefined))
      this.#leaves.delete(tunnel.leaf);
    return slot >= 0 ? slot : undefined;
  }

  standbyCount(leaf: LeafId): number {
    return this.#leaves.get(leaf)?.standbys.length ?? 0;
  }

  enqueue(tunnel: RootTunnel): void {
    const leaf = this.#leaf(tunnel.leaf);
    assert(!leaf.standbys.includes(tunnel), `tunnel ${tunnel.id} stands by already`);
    leaf.standbys.push(tunnel);
    moveTunnel(tunnel, { kind: 'standby' });
  }

  /** The longest-waiting standby that may take a slot; a suspect only where there is nobody else. */
  nextStandby(leaf: LeafId, suspect: (tunnel: RootTunnel) => boolean): RootTunnel | undefined {
    const able = this.#leaves.get(leaf)?.standbys.filter((tunnel) => !this.holdsOne(tunnel)) ?? [];
    return able.find((tunnel) => !suspect(tunnel)) ?? able[0];
  }

  /** Throws when slots and tunnels disagree. For tests and the simulator: it looks at everything. */
  check(tunnels: readonly RootTunnel[]): void {
    for (const tunnel of tunnels) {
      const leaf = this.#leaves.get(tunnel.leaf);
      const slot = leaf?.holders.indexOf(tunnel) ?? -1;
      const held = tunnel.phase.kind === 'claimed' ? tunnel.phase.slot : -1;
      assert(slot === held, `S1: tunnel ${tunnel.id} believes in slot ${held}, the slots say ${slot}`);
      const queued = leaf?.standbys.includes(tunnel) === true;
      assert(
        queued === (tunnel.phase.kind === 'standby'),
        `tunnel ${tunnel.id} is ${tunnel.phase.kind}, queued: ${queued}`,
      );
    }
    for (const [name, leaf] of this.#leaves) {
      for (const holder of leaf.holders) {
        assert(holder === undefined || tunnels.includes(holder), `S1: a slot of ${name} is held by a closed tunnel`);
      }
    }
  }

  #leaf(name: LeafId): LeafSlots {
    let leaf = this.#leaves.get(name);
    if (leaf === undefined) {
      leaf = { holders: Array.from({ length: this.#claimsPerProxy }, () => undefined), standbys: [] };
      this.#leaves.set(name, leaf);
    }
    return leaf;
  }

  #unqueue(leaf: LeafSlots, tunnel: RootTunnel): void {
    const index = leaf.standbys.indexOf(tunnel);
    if (index >= 0) leaf.standbys.splice(index, 1);
  }
}
