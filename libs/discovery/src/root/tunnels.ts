/** The tunnels of one root proxy and the table of what may become of each. */
import { assert } from '../shared/assert.ts';
import type { Stamp } from '../shared/gossip.ts';
import type { AgentId, InstanceNonce, LeafId, ProxyId, TunnelId } from '../shared/ids.ts';

export type RootDeadline =
  | `gossip:${string}`
  | `undecided:${string}`
  | `linger:${string}`
  | `challenge:${string}`
  | `record:${string}`
  | 'drain';

/**
 *   waiting    an older tunnel of the same agent id is being challenged
 *   undecided  told that the claim is held; may ask for standby
 *   standby    waits for promotion, in order of asking
 *   claimed    holds a slot
 *   leaving    the agent drains: no slot, open connections finish
 *   replaced   a newer tunnel of the same instance took its slot: open connections finish
 *   closing    told to go; only its end is awaited
 */
export type TunnelPhase =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'undecided' }
  | { readonly kind: 'standby' }
  | { readonly kind: 'claimed'; readonly slot: number }
  | { readonly kind: 'leaving' }
  | { readonly kind: 'replaced' }
  | { readonly kind: 'closing' };

const MOVES: Readonly<Record<TunnelPhase['kind'], readonly TunnelPhase['kind'][]>> = {
  waiting: ['claimed', 'undecided', 'leaving', 'closing'],
  undecided: ['claimed', 'standby', 'leaving', 'replaced', 'closing'],
  standby: ['claimed', 'leaving', 'replaced', 'closing'],
  claimed: ['leaving', 'replaced', 'closing'],
  leaving: ['closing'],
  replaced: ['closing'],
  closing: [],
};

export interface RootTunnel {
  readonly id: TunnelId;
  readonly leaf: LeafId;
  readonly agent: AgentId;
  readonly nonce: InstanceNonce;
  readonly via: ProxyId | undefined;
  phase: TunnelPhase;
  /** Membership that the agent has if nothing was lost. */
  sent: Stamp | undefined;
}

export function moveTunnel(tunnel: RootTunnel, phase: TunnelPhase): void {
  const { kind } = tunnel.phase;
  assert(MOVES[kind].includes(phase.kind), `tunnel ${tunnel.id} cannot go from ${kind} to ${phase.kind}`);
  tunnel.phase = phase;
}

/** Name of an agent across leaf clusters. Names hold no slash. */
export function agentKey(tunnel: Pick<RootTunnel, 'leaf' | 'agent'>): string {
  return `${tunnel.leaf}/${tunnel.agent}`;
}

/** Tunnels by id and by agent. */
export class TunnelTable {
  readonly #tunnels = new Map<TunnelId, RootTunnel>();
  readonly #byAgent = new Map<string, Set<RootTunnel>>();

  /** For events that the shell may only send for a tunnel it announced. */
  expect(id: TunnelId): RootTunnel {
    const tunnel = this.#tunnels.get(id);
    assert(tunnel !== undefined, `tunnel ${id} was never attached or is closed already`);
    return tunnel;
  }

  add(tunnel: RootTunnel): void {
    assert(!this.#tunnels.has(tunnel.id), `tunnel ${tunnel.id} is attached already`);
    this.#tunnels.set(tunnel.id, tunnel);
    const key = agentKey(tunnel);
    const own = this.#byAgent.get(key);
    if (own === undefined) this.#byAgent.set(key, new Set([tunnel]));
    else own.add(tunnel);
  }

  remove(tunnel: RootTunnel): void {
    this.#tunnels.delete(tunnel.id);
    const own = this.#byAgent.get(agentKey(tunnel));
    own?.delete(tunnel);
    if (own?.size === 0) this.#byAgent.delete(agentKey(tunnel));
  }

  get size(): number {
    return this.#tunnels.size;
  }

  /** Every tunnel, in order of id. */
  sorted(): readonly RootTunnel[] {
    return [...this.#tunnels.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Every tunnel of the same agent id, oldest first. */
  ofAgent(tunnel: RootTunnel): readonly RootTunnel[] {
    return [...(this.#byAgent.get(agentKey(tunnel)) ?? [])];
  }

  /** Other tunnels of the same agent id that hold, wait for or may ask for a slot, oldest first. */
  rivals(tunnel: RootTunnel): readonly RootTunnel[] {
    return this.ofAgent(tunnel).filter(
      (other) =>
        other !== tunnel &&
        (other.phase.kind === 'claimed' || other.phase.kind === 'standby' || other.phase.kind === 'undecided'),
    );
  }
}
