import { carry } from '@xylem/wire';
import type { Dials } from '../dials/dials.ts';
import type { Tunnel } from './tunnel.ts';

/** How often tunnels over a leaving relay are looked at, while there are any. */
const LOOK_MS = 200;

/**
 * Moves tunnels off root proxies that drain. A tunnel that such a proxy relays takes no new dials where another serves the
 * leaf cluster, and is closed as soon as it carries nothing: its agent dials again at once, and the balancer sends it by
 * another way. Without this, the relaying proxy would cut what its tunnels carry when it ends.
 */
export class LeavingRelays {
  readonly #dials: Dials;
  readonly #tunnels: () => Iterable<Tunnel>;
  #leaving: ReadonlySet<string> = new Set();
  readonly #told = new WeakSet<Tunnel>();
  #timer: NodeJS.Timeout | undefined;

  constructor(dials: Dials, tunnels: () => Iterable<Tunnel>) {
    this.#dials = dials;
    this.#tunnels = tunnels;
  }

  /** The root proxies that drain now. */
  set(leaving: ReadonlySet<string>): void {
    this.#leaving = leaving;
    this.#look();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #look(): void {
    clearTimeout(this.#timer);
    if (this.#leaving.size === 0) return;
    const affected = [...this.#tunnels()].filter(({ connection }) => this.#leaving.has(connection.via ?? ''));
    if (affected.length === 0) return;
    for (const tunnel of affected) {
      if (!this.#told.has(tunnel)) this.#dials.tunnelDraining(tunnel.id);
      this.#told.add(tunnel);
    }
    const busy = new Set(
      this.#dials
        .status()
        .tunnels.filter(({ openConnections, pendingDials }) => openConnections + pendingDials > 0)
        .map(({ tunnel }) => tunnel),
    );
    for (const tunnel of affected) {
      if (busy.has(tunnel.id)) continue;
      const detail = `root proxy ${tunnel.connection.via}, which relays this tunnel, is about to stop`;
      tunnel.goodbye(carry.Reason.REASON_TUNNEL_LOST, 'relay-leaving', detail);
    }
    this.#timer = setTimeout(() => this.#look(), LOOK_MS);
  }
}
