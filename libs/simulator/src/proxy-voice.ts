import type { GossipMessage, ProxyId, RootCloseReason, RootEffect, TunnelId } from '@xylem/discovery';
import type { GossipFaults } from './gossip-faults.ts';
import type { Host } from './host.ts';
import type { ProxyTunnel } from './proxy-tunnel.ts';
import type { Trace } from './trace.ts';

/** What a root proxy does to one of its tunnels. */
export type TunnelEffect = Extract<RootEffect, { readonly tunnel: TunnelId }>;

export interface VoiceParts {
  readonly proxy: ProxyId;
  readonly host: Host;
  readonly gossip: GossipFaults;
  readonly trace: Trace;
  note(what: string): void;
  tunnel(id: TunnelId): ProxyTunnel | undefined;
  /** Whether a registry session is up now. */
  isConnected(): boolean;
  /** The tunnel was closed by us. */
  closed(id: TunnelId, reason: string): void;
}

/** What a root proxy says to its agents, and what becomes of the tunnels that it ends. */
export class ProxyVoice {
  readonly #parts: VoiceParts;
  /** Tunnels that asked to stand by: for the trace. */
  readonly #waiting = new Set<TunnelId>();

  constructor(parts: VoiceParts) {
    this.#parts = parts;
  }

  standsBy(id: TunnelId): void {
    this.#waiting.add(id);
  }

  forget(id: TunnelId): void {
    this.#waiting.delete(id);
  }

  perform(effect: TunnelEffect): void {
    const tunnel = this.#parts.tunnel(effect.tunnel);
    if (tunnel === undefined) return;
    switch (effect.type) {
      case 'grantClaim':
        return this.#grant(tunnel, effect.slot);
      case 'confirmClaim': {
        const { slot, token, incarnation } = effect;
        if (tunnel.grantedOffline) this.#parts.note(`records a claim that was provisional: ${tunnel.id}`);
        tunnel.grantedOffline = false;
        return tunnel.send({ type: 'recorded', slot, token, incarnation });
      }
      case 'reportHeld':
        return tunnel.send({ type: 'held', holder: effect.holder });
      case 'sendGossip':
        return this.#tell(tunnel.id, effect.message);
      case 'challengeTunnel':
        this.#parts.note(`challenges ${tunnel.id}`);
        return tunnel.challenge();
      case 'closeTunnel':
        return this.#close(tunnel, effect.reason, effect.detail);
      case 'announceDrain':
        tunnel.drainAnnounced = true;
        return tunnel.send({ type: 'drain', spreadMs: effect.spreadMs, deadlineMs: effect.deadlineMs });
    }
  }

  /** Gossip is the one thing that may be lost, doubled, late and out of order even while the connection is fine. */
  #tell(id: TunnelId, message: GossipMessage): void {
    const { gossip, host } = this.#parts;
    for (const delayMs of gossip.deliveries(host.random)) {
      const say = (): void => this.#parts.tunnel(id)?.send({ type: 'gossip', message });
      if (delayMs === 0) say();
      else host.after(delayMs, say);
    }
  }

  #grant(tunnel: ProxyTunnel, slot: number): void {
    tunnel.granted = slot;
    tunnel.grantedOffline = !this.#parts.isConnected();
    const what = this.#waiting.delete(tunnel.id) ? 'promotes standby' : 'grants slot';
    this.#parts.note(`${what}${tunnel.grantedOffline ? ', without a registry,' : ''} ${String(slot)} to ${tunnel.id}`);
    tunnel.send({ type: 'granted', slot });
  }

  #close(tunnel: ProxyTunnel, reason: RootCloseReason, detail: string): void {
    const { proxy, host, trace } = this.#parts;
    const { id, drainAnnounced, peer } = tunnel;
    this.#parts.note(`closes ${id}: ${reason}: ${detail}`);
    trace.tell({ type: 'tunnelGivenUp', proxy, tunnel: id, reason, detail, drainAnnounced, peer });
    tunnel.granted = undefined;
    tunnel.send({ type: 'goodbye', reason: `${reason}: ${detail}` });
    tunnel.end.close();
    // A closed stream is told after this turn, as a real one would.
    host.after(0, () => this.#parts.closed(id, reason));
  }
}
