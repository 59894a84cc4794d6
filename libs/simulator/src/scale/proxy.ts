import { HandshakeAdmission, RootDiscovery, defaultRootConfig } from '@xylem/discovery';
import type {
  GossipMessage,
  Incarnation,
  InstanceNonce,
  LeafEvent,
  ProxyId,
  RootEffect,
  RootEvent,
  TunnelId,
} from '@xylem/discovery';
import { PRODUCTION } from '../cores.ts';
import type { Host } from '../host.ts';
import { ProxySession } from '../proxy-session.ts';
import type { SessionOwner } from '../proxy-session.ts';
import type { ScaleAgent } from './agent.ts';
import { SequenceRandom } from './meters.ts';
import { Timer } from './timer.ts';
import type { Attempt, ScaleWorld } from './world.ts';

type Heard = Extract<LeafEvent, { readonly tunnel: TunnelId }>;

interface Tunnel {
  readonly agent: ScaleAgent;
  /** What is on its way since `sentAt`: messages of one instant travel together, in order. */
  outbox: (() => void)[];
  sentAt: number;
}

/** As in apps/root-proxy: the longest wait in line for a handshake; as in apps/leaf-agent: what an agent takes *busy* to ask for. */
const MAX_WAIT_MS = 5_000;
const BUSY_RETRY_MS = 2_000;

/** One root proxy with very many tunnels: the product's `RootDiscovery` and `RegistryLink`; tunnels without PING. */
export class ScaleProxy {
  readonly id: ProxyId;
  readonly host: Host;
  readonly #world: ScaleWorld;
  readonly #root: RootDiscovery;
  readonly #session: ProxySession;
  readonly #timer: Timer;
  readonly #linkTimer: Timer;
  readonly #admission: HandshakeAdmission | undefined;
  readonly #tunnels = new Map<TunnelId, Tunnel>();
  #incarnation = 0n as Incarnation;
  #onEnded: (() => void) | undefined;

  constructor(world: ScaleWorld, host: Host, index: number, registries: readonly string[]) {
    this.#world = world;
    this.host = host;
    this.id = host.name as ProxyId;
    host.start();
    const random = new SequenceRandom(world.seed * 8_191 + index);
    const { handshakesPerSecond } = world.options;
    if (handshakesPerSecond !== undefined)
      this.#admission = new HandshakeAdmission({ handshakesPerSecond, maxWaitMs: MAX_WAIT_MS }, world.now);
    this.#root = new RootDiscovery(defaultRootConfig(this.id), random, host.now);
    this.#timer = new Timer(world.scheduler, () => this.#timeout());
    this.#linkTimer = new Timer(world.scheduler, () => this.#timeout());
    this.#session = new ProxySession(this.#owner(host), registries, PRODUCTION.link);
    this.#session.start();
    this.#perform();
  }

  get incarnation(): Incarnation {
    return this.#incarnation;
  }

  #owner(host: Host): SessionOwner {
    return {
      host: this.host,
      id: this.id,
      generation: 0,
      nonce: `${host.name}-1` as InstanceNonce,
      note: () => undefined,
      connect: (registry, answer) => this.#world.openSession(this, registry, answer),
      inform: (event) => {
        if (event.type === 'registryConnected') this.#incarnation = event.incarnation;
        this.#root.handle(event, this.host.now);
      },
      perform: () => this.#perform(),
      ended: () => this.#onEnded?.(),
    };
  }

  /** A connection has come and its ClientHello was read. */
  arrive(attempt: Attempt): void {
    const { agent, dial } = attempt;
    const waitMs = this.#admission === undefined ? 0 : this.#admission.arrive(this.#world.now);
    if (waitMs === undefined) {
      this.#world.meters.of(this.id).shed += 1;
      return this.#world.later(agent.latencyMs, () => agent.dialFailed(dial, 'refused', BUSY_RETRY_MS));
    }
    this.#world.later(waitMs, () => {
      if (!this.host.alive) return this.#world.later(agent.latencyMs, () => agent.dialFailed(dial, 'lost'));
      this.#world.meters.handshake(this.id, this.#world.now);
      // One more round trip for TLS 1.3, then the hello.
      this.#world.later(2 * agent.latencyMs, () => this.#attach(attempt));
    });
  }

  #attach({ agent, dial, tunnel, replaces }: Attempt): void {
    if (!this.host.alive) return this.#world.later(agent.latencyMs, () => agent.dialFailed(dial, 'lost'));
    this.#tunnels.set(tunnel, { agent, outbox: [], sentAt: -1 });
    this.#send(tunnel, () => {
      if (!agent.established(dial, tunnel, this)) this.#world.later(agent.latencyMs, () => this.closed(tunnel));
    });
    const { leaf, nonce } = agent;
    this.heard({ type: 'attachRequested', tunnel, leaf, agent: agent.agent, nonce, replaces });
  }

  heard(event: RootEvent): void {
    if (!this.host.alive || ('tunnel' in event && !this.#tunnels.has(event.tunnel))) return;
    this.#root.handle(event, this.host.now);
    this.#perform();
  }

  closed(tunnel: TunnelId): void {
    this.heard({ type: 'tunnelClosed', tunnel });
    this.#tunnels.delete(tunnel);
  }

  drain(onEnded: () => void): void {
    this.#onEnded = onEnded;
    this.heard({ type: 'drainRequested', spreadMs: 1_000, deadlineMs: 30_000 });
  }

  /** Every connection is cut in the middle: both ends see a reset. */
  cut(): void {
    for (const [id, { agent }] of this.#tunnels) {
      this.#world.later(agent.latencyMs, () => agent.closed(id, false, 'reset'));
      this.#world.later(0, () => this.closed(id));
    }
  }

  /** The process dies; its kernel resets every tunnel. */
  crash(): void {
    this.host.crash();
    this.#session.crash();
    this.#timer.set(undefined);
    this.#linkTimer.set(undefined);
    for (const [id, { agent }] of this.#tunnels)
      this.#world.later(agent.latencyMs, () => agent.closed(id, false, 'reset'));
    this.#tunnels.clear();
  }

  #timeout(): void {
    const { now } = this.host;
    this.#session.timeout(now);
    const due = this.#root.nextTimeout();
    if (due !== undefined && due <= now) this.#root.handle({ type: 'timeout' }, now);
    this.#perform();
  }

  #perform(): void {
    for (;;) {
      if (this.#session.step()) continue;
      const effect = this.#root.pollEffect();
      if (effect === undefined) break;
      this.#do(effect);
    }
    if (!this.host.alive) return;
    this.#timer.set(this.#root.nextTimeout());
    this.#linkTimer.set(this.#session.link?.nextTimeout());
  }

  #do(effect: RootEffect): void {
    switch (effect.type) {
      case 'grantClaim':
        return this.#say({ type: 'claimGranted', tunnel: effect.tunnel, slot: effect.slot });
      case 'confirmClaim': {
        const { tunnel, token, incarnation } = effect;
        return this.#say({ type: 'claimRecorded', tunnel, token, incarnation });
      }
      case 'reportHeld':
        return this.#say({ type: 'claimHeld', tunnel: effect.tunnel, holder: effect.holder });
      case 'sendGossip':
        return this.#gossip(effect.tunnel, effect.message);
      case 'challengeTunnel':
        return this.#challenge(effect.tunnel);
      case 'closeTunnel':
        return this.#close(effect.tunnel, `${effect.reason}: ${effect.detail}`);
      case 'announceDrain': {
        const { tunnel, spreadMs, deadlineMs } = effect;
        return this.#say({ type: 'drainAnnounced', tunnel, spreadMs, deadlineMs });
      }
      case 'recordClaim': {
        const { request, leaf, slot, agent, nonce } = effect;
        const message = { type: 'acquire', request: BigInt(request), leaf, slot, agent, nonce } as const;
        return this.#session.ask(message, { type: 'claimUnknown', request });
      }
      case 'releaseClaim': {
        const { request, leaf, slot, token } = effect;
        const message = { type: 'release', request: BigInt(request), leaf, slot, token } as const;
        return this.#session.ask(message, { type: 'releaseUnknown', request });
      }
      case 'deregister':
        return this.#session.tell({ type: 'drainRequested' });
      case 'drained':
        return this.#session.tell({ type: 'leaveRequested', deadlineMs: 3_000 });
    }
  }

  #gossip(tunnel: TunnelId, message: GossipMessage): void {
    const meter = this.#world.meters.of(this.id);
    meter.gossipMessages += 1;
    meter.gossipBytes += this.#world.sizeOf(message);
    this.#say({ type: 'gossipReceived', tunnel, message });
  }

  #challenge(id: TunnelId): void {
    const agent = this.#tunnels.get(id)?.agent;
    if (agent === undefined) return;
    this.#world.later(2 * agent.latencyMs, () => {
      if (agent.has(id)) this.heard({ type: 'challengeAnswered', tunnel: id });
    });
  }

  #close(id: TunnelId, reason: string): void {
    const agent = this.#tunnels.get(id)?.agent;
    this.#send(id, () => agent?.closed(id, true, reason));
    this.#world.later(0, () => this.closed(id));
  }

  #say(event: Heard): void {
    const agent = this.#tunnels.get(event.tunnel)?.agent;
    this.#send(event.tunnel, () => agent?.heard(event));
  }

  #send(id: TunnelId, deliver: () => void): void {
    const tunnel = this.#tunnels.get(id);
    if (tunnel === undefined) return;
    const { now } = this.#world;
    if (tunnel.sentAt === now) return void tunnel.outbox.push(deliver);
    const batch = [deliver];
    tunnel.outbox = batch;
    tunnel.sentAt = now;
    this.#world.later(tunnel.agent.latencyMs, () => {
      for (const work of batch) work();
    });
  }
}
