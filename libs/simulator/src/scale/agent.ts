import { LeafDiscovery, defaultLeafConfig } from '@xylem/discovery';
import type {
  AgentId,
  DialFailure,
  DialId,
  InstanceNonce,
  LeafEffect,
  LeafEvent,
  LeafId,
  ProxyId,
  TunnelId,
} from '@xylem/discovery';
import { SequenceRandom } from './meters.ts';
import type { ScaleProxy } from './proxy.ts';
import type { ScaleWorld } from './world.ts';
import { Timer } from './timer.ts';

interface Held {
  readonly proxy: ScaleProxy;
}

/** One leaf agent of very many: the product's `LeafDiscovery`, and no more around it than it needs. */
export class ScaleAgent {
  readonly leaf: LeafId;
  readonly agent: AgentId;
  readonly nonce: InstanceNonce;
  /** One way to the root cluster. */
  readonly latencyMs: number;
  /** Proxies that have granted their claim, over tunnels that are up. */
  readonly claimed = new Set<ProxyId>();
  readonly #world: ScaleWorld;
  readonly #core: LeafDiscovery;
  readonly #timer: Timer;
  readonly #tunnels = new Map<TunnelId, Held>();
  readonly #dials = new Set<DialId>();
  #tunnelCount = 0;
  dialsMade = 0;

  constructor(world: ScaleWorld, index: number) {
    const random = new SequenceRandom(world.seed * 65_537 + index);
    this.#world = world;
    this.leaf = `leaf-${String(index)}` as LeafId;
    this.agent = `agent-${String(index)}` as AgentId;
    this.nonce = `n${String(index)}` as InstanceNonce;
    this.latencyMs = 5 + 35 * random.next();
    this.#timer = new Timer(world.scheduler, () => this.#timeout());
    this.#core = new LeafDiscovery(defaultLeafConfig(this.leaf, this.agent), random, world.now);
    this.#perform();
  }

  has(tunnel: TunnelId): boolean {
    return this.#tunnels.has(tunnel);
  }

  /** A tunnel was opened: TLS, hello and welcome are done. False when nobody waits for it any more. */
  established(dial: DialId, tunnel: TunnelId, proxy: ScaleProxy): boolean {
    if (!this.#dials.delete(dial)) return false;
    this.#tunnels.set(tunnel, { proxy });
    const incarnation = proxy.incarnation;
    this.handle({ type: 'tunnelEstablished', dial, tunnel, proxy: proxy.id, incarnation, via: undefined });
    return true;
  }

  dialFailed(dial: DialId, reason: DialFailure, retryAfterMs = 0): void {
    if (this.#dials.delete(dial)) this.handle({ type: 'dialFailed', dial, reason, retryAfterMs });
  }

  /** What a proxy said over a tunnel; nothing is heard over one that is over. */
  heard(event: Extract<LeafEvent, { readonly tunnel: TunnelId }>): void {
    const held = this.#tunnels.get(event.tunnel);
    if (held === undefined) return;
    if (event.type === 'claimGranted') {
      this.claimed.add(held.proxy.id);
      this.#world.claimed(this, held.proxy.id);
    }
    this.handle(event);
  }

  closed(tunnel: TunnelId, graceful: boolean, reason: string): void {
    const held = this.#tunnels.get(tunnel);
    if (held === undefined) return;
    this.#tunnels.delete(tunnel);
    const again = [...this.#tunnels.values()].some(({ proxy }) => proxy === held.proxy);
    if (!again) this.claimed.delete(held.proxy.id);
    this.handle({ type: 'tunnelClosed', tunnel, graceful, reason });
  }

  handle(event: LeafEvent): void {
    this.#core.handle(event, this.#world.now);
    this.#perform();
  }

  #timeout(): void {
    this.handle({ type: 'timeout' });
  }

  #perform(): void {
    for (let effect = this.#core.pollEffect(); effect !== undefined; effect = this.#core.pollEffect()) this.#do(effect);
    this.#timer.set(this.#core.nextTimeout());
  }

  #do(effect: LeafEffect): void {
    switch (effect.type) {
      case 'dial': {
        const { dial, target, replaces } = effect;
        this.dialsMade += 1;
        this.#dials.add(dial);
        this.#tunnelCount += 1;
        const tunnel = `${this.agent}.${String(this.#tunnelCount)}` as TunnelId;
        return this.#world.dial({ agent: this, dial, target, tunnel, replaces });
      }
      case 'cancelDial':
        return this.#world.later(0, () => this.dialFailed(effect.dial, 'timeout'));
      case 'requestStandby':
      case 'requestSnapshot': {
        const proxy = this.#tunnels.get(effect.tunnel)?.proxy;
        const type = effect.type === 'requestStandby' ? 'standbyRequested' : 'snapshotRequested';
        return this.#world.later(this.latencyMs, () => proxy?.heard({ type, tunnel: effect.tunnel }));
      }
      // Nobody signs here, so there is none.
      case 'showEvidence':
        return;
      case 'closeTunnel': {
        const proxy = this.#tunnels.get(effect.tunnel)?.proxy;
        this.#world.later(this.latencyMs, () => proxy?.closed(effect.tunnel));
        return this.#world.later(0, () => this.closed(effect.tunnel, true, effect.reason));
      }
    }
  }
}
