import { carry } from '@xylem/wire';
import type { Dials } from '../dials/dials.ts';
import type { Tunnel } from './tunnel.ts';

/** How often tunnels over a leaving relay are looked at, while there are any. */
const LOOK_MS = 200;
/** Agents look for another way by themselves, within a second of hearing of the drain, and retry; only then are they sent off. */
const GRACE_MS = 4_000;

/**
 * Moves tunnels off root proxies that drain. A tunnel that such a proxy relays takes no new dials where another serves the
 * leaf cluster. Its agent opens another one, which takes the claim over; the old one ends when it carries nothing any more. An
 * agent that found no other way in time is sent off once its tunnel carries nothing: it dials again. Without this, the
 * relaying proxy would cut what its tunnels carry when it ends.
 */
export class LeavingRelays {
  readonly #dials: Dials;
  readonly #tunnels: () => Iterable<Tunnel>;
  #leaving: ReadonlySet<string> = new Set();
  /** Since when each tunnel is known to be affected, of `performance.now()`. */
  readonly #told = new WeakMap<Tunnel, number>();
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
    const now = performance.now();
    for (const tunnel of affected) {
      if (this.#told.has(tunnel)) continue;
      this.#dials.tunnelDraining(tunnel.id);
      this.#told.set(tunnel, now);
    }
    const busy = new Set(
      this.#dials
        .status()
        .tunnels.filter(({ openConnections, pendingDials }) => openConnections + pendingDials > 0)
        .map(({ tunnel }) => tunnel),
    );
    for (const tunnel of affected) {
      if (busy.has(tunnel.id) || now - (this.#told.get(tunnel) ?? now) < GRACE_MS) continue;
      const detail = `root proxy ${tunnel.connection.via}, which relays this tunnel, is about to stop`;
      tunnel.goodbye(carry.Reason.REASON_TUNNEL_LOST, 'relay-leaving', detail);
    }
    this.#timer = setTimeout(() => this.#look(), LOOK_MS);
  }
}
