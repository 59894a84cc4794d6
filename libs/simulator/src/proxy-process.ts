import { Liveness, RegistryLink, RootDiscovery, defaultRegistryLinkConfig, defaultRootConfig } from '@xylem/discovery';
import type {
  GossipMessage,
  InstanceNonce,
  ProxyId,
  RegistryEffect,
  RegistryEvent,
  RootConfig,
  RootEffect,
  RootEvent,
  Snapshot,
  TunnelId,
} from '@xylem/discovery';
import type { SessionRequest } from '@xylem/membership';
import type { GossipFaults } from './gossip-faults.ts';
import type { Host } from './host.ts';
import { LIVENESS } from './messages.ts';
import type { AgentMessage, ProxyMessage } from './messages.ts';
import type { End } from './network.ts';
import { claimEvent, linkEvent } from './registry-messages.ts';
import type { SessionDown, SessionUp } from './registry-process.ts';
import type { Trace } from './trace.ts';

/** Opens a session stream to a registry; undefined when nothing accepts. */
export type SessionDialler = (proxy: ProxyProcess, registry: string, answer: (end: End | undefined) => void) => void;

interface Tunnel {
  readonly id: TunnelId;
  readonly end: End;
  readonly agent: string;
  readonly liveness: Liveness;
  challenged: boolean;
}

/** One root proxy: its real cores, with tunnels, registry sessions and gossip simulated. */
export class ProxyProcess {
  readonly host: Host;
  readonly id: ProxyId;
  readonly generation: number;
  readonly #config: RootConfig;
  readonly #registries: readonly string[];
  readonly #connect: SessionDialler;
  readonly #gossip: GossipFaults;
  readonly #trace: Trace;
  readonly #clock: () => number;
  readonly #tunnels = new Map<TunnelId, Tunnel>();
  #root: RootDiscovery | undefined;
  #link: RegistryLink | undefined;
  #session: { readonly number: number; readonly end: End } | undefined;
  #lives = 0;
  #onEnded: (() => void) | undefined;
  #turns = 0;

  constructor(parts: {
    readonly host: Host;
    readonly generation?: number;
    readonly config?: Partial<RootConfig>;
    readonly registries: readonly string[];
    readonly connect: SessionDialler;
    readonly gossip: GossipFaults;
    readonly trace: Trace;
    readonly clock: () => number;
  }) {
    this.host = parts.host;
    this.id = parts.host.name as ProxyId;
    this.generation = parts.generation ?? 0;
    this.#config = { ...defaultRootConfig(this.id), ...parts.config };
    this.#registries = parts.registries;
    this.#connect = parts.connect;
    this.#gossip = parts.gossip;
    this.#trace = parts.trace;
    this.#clock = parts.clock;
  }

  get root(): RootDiscovery | undefined {
    return this.#root;
  }

  get link(): RegistryLink | undefined {
    return this.#link;
  }

  /** Rises whenever a core was told something: checkers look again then. */
  get turns(): number {
    return this.#turns;
  }

  get nonce(): InstanceNonce {
    return `${this.host.name}-${String(this.#lives)}` as InstanceNonce;
  }

  /** Tunnels as this end sees them: for checkers. */
  tunnelEnds(): readonly { readonly tunnel: TunnelId; readonly agent: string; readonly end: End }[] {
    return [...this.#tunnels.values()].map(({ id, agent, end }) => ({ tunnel: id, agent, end }));
  }

  start(): void {
    this.#lives += 1;
    this.host.start();
    this.#tunnels.clear();
    this.#session = undefined;
    this.#root = new RootDiscovery(this.#config, this.host.random, this.host.now);
    this.#link = new RegistryLink(defaultRegistryLinkConfig(this.#registries), this.host.random, this.host.now);
    this.#note('starts');
    this.#perform();
  }

  crash(): void {
    this.#note('crashes');
    this.#root = undefined;
    this.#link = undefined;
    this.#tunnels.clear();
    this.host.crash();
  }

  /** SIGTERM: drains, leaves the registry, then ends. */
  drain(spreadMs: number, deadlineMs: number, onEnded: () => void): void {
    this.#note('drains');
    this.#onEnded = onEnded;
    this.#toRoot({ type: 'drainRequested', spreadMs, deadlineMs });
  }

  /** A tunnel's connection has arrived, TLS done. */
  accept(end: End, via: ProxyId | undefined): void {
    let id: TunnelId | undefined;
    end.listen({
      onMessage: (raw) => {
        const message = raw as AgentMessage;
        if (message.type === 'hello') {
          id = message.tunnel;
          this.#attach(end, message, via);
        } else if (id !== undefined) this.#received(id, message);
      },
      onEnd: (how) => {
        if (id !== undefined) this.#closed(id, how);
      },
    });
  }

  #attach(end: End, hello: Extract<AgentMessage, { type: 'hello' }>, via: ProxyId | undefined): void {
    const root = this.#root;
    if (root === undefined) return;
    const { tunnel, leaf, agent, nonce, replaces } = hello;
    const liveness = new Liveness(LIVENESS, this.host.random, this.host.now);
    this.#tunnels.set(tunnel, { id: tunnel, end, agent, liveness, challenged: false });
    this.#send(end, { type: 'welcome', proxy: this.id, incarnation: root.status().incarnation, via });
    this.#toRoot({ type: 'attachRequested', tunnel, leaf, agent, nonce, replaces, via });
  }

  #received(id: TunnelId, message: AgentMessage): void {
    const tunnel = this.#tunnels.get(id);
    if (tunnel === undefined) return;
    switch (message.type) {
      case 'hello':
        return;
      case 'standby':
        return this.#toRoot({ type: 'standbyRequested', tunnel: id });
      case 'ping':
        return this.#send(tunnel.end, { type: 'pong', nonce: message.nonce });
      case 'pong':
        tunnel.liveness.handle({ type: 'pongReceived', nonce: message.nonce }, this.host.now);
        this.#performLiveness(tunnel);
        return this.#wake();
      case 'snapshotWanted':
        return this.#toRoot({ type: 'snapshotRequested', tunnel: id });
      case 'drain':
        return this.#toRoot({ type: 'agentDraining', tunnel: id });
      case 'goodbye':
        tunnel.end.close();
        return this.#closed(id, message.reason);
      case 'dialAnswer':
        return this.#note(`dial ${String(message.dial)} over ${id}: ${message.outcome}`);
    }
  }

  #closed(id: TunnelId, how: string): void {
    if (!this.#tunnels.delete(id)) return;
    this.#note(`tunnel ${id} over: ${how}`);
    this.#toRoot({ type: 'tunnelClosed', tunnel: id });
  }

  #toRoot(event: RootEvent): void {
    this.#root?.handle(event, this.host.now);
    this.#perform();
  }

  #toLink(event: RegistryEvent): void {
    this.#link?.handle(event, this.host.now);
    this.#perform();
  }

  /** Runs both cores' effects to the end; the one may feed the other. */
  #perform(): void {
    this.#turns += 1;
    for (;;) {
      const link = this.#link?.pollEffect();
      if (link !== undefined) {
        this.#doLink(link);
        continue;
      }
      const root = this.#root?.pollEffect();
      if (root === undefined) break;
      this.#doRoot(root);
    }
    this.#wake();
  }

  #wake(): void {
    const due = [this.#root?.nextTimeout(), this.#link?.nextTimeout()];
    for (const tunnel of this.#tunnels.values()) due.push(tunnel.liveness.nextTimeout());
    const next = due.reduce((least, at) => (at !== undefined && (least === undefined || at < least) ? at : least), undefined);
    this.host.wakeAt(next, () => this.#timeout());
  }

  #timeout(): void {
    const { now } = this.host;
    const isDue = (at: number | undefined): boolean => at !== undefined && at <= now;
    for (const tunnel of [...this.#tunnels.values()]) {
      if (!isDue(tunnel.liveness.nextTimeout())) continue;
      tunnel.liveness.handle({ type: 'timeout' }, now);
      this.#performLiveness(tunnel);
    }
    if (isDue(this.#link?.nextTimeout())) this.#link?.handle({ type: 'timeout' }, now);
    if (isDue(this.#root?.nextTimeout())) this.#root?.handle({ type: 'timeout' }, now);
    this.#perform();
  }

  #performLiveness(tunnel: Tunnel): void {
    for (let effect = tunnel.liveness.pollEffect(); effect !== undefined; effect = tunnel.liveness.pollEffect()) {
      if (effect.type === 'sendPing') this.#send(tunnel.end, { type: 'ping', nonce: effect.nonce });
      else if (effect.type === 'reportAlive') {
        if (tunnel.challenged) this.#toRoot({ type: 'challengeAnswered', tunnel: tunnel.id });
        tunnel.challenged = false;
      } else {
        tunnel.end.reset();
        this.#closed(tunnel.id, 'silent');
      }
    }
  }

  #doRoot(effect: RootEffect): void {
    const end = 'tunnel' in effect ? this.#tunnels.get(effect.tunnel)?.end : undefined;
    switch (effect.type) {
      case 'grantClaim':
        this.#note(`grants slot ${String(effect.slot)} to ${effect.tunnel}`);
        return this.#send(end, { type: 'granted', slot: effect.slot });
      case 'confirmClaim':
        return this.#send(end, { type: 'recorded', slot: effect.slot, token: effect.token, incarnation: effect.incarnation });
      case 'reportHeld':
        return this.#send(end, { type: 'held', holder: effect.holder });
      case 'sendGossip':
        return this.#tell(effect.tunnel, effect.message);
      case 'challengeTunnel':
        return this.#challenge(effect.tunnel);
      case 'closeTunnel':
        return this.#close(effect.tunnel, `${effect.reason}: ${effect.detail}`);
      case 'announceDrain':
        return this.#send(end, { type: 'drain', spreadMs: effect.spreadMs, deadlineMs: effect.deadlineMs });
      case 'recordClaim': {
        const { request, leaf, slot, agent, nonce } = effect;
        return this.#ask({ type: 'acquire', request: BigInt(request), leaf, slot, agent, nonce }, { type: 'claimUnknown', request });
      }
      case 'releaseClaim': {
        const { request, leaf, slot, token } = effect;
        return this.#ask({ type: 'release', request: BigInt(request), leaf, slot, token }, { type: 'releaseUnknown', request });
      }
      case 'deregister':
        return this.#link?.handle({ type: 'drainRequested' }, this.host.now);
      case 'drained':
        return this.#link?.handle({ type: 'leaveRequested', deadlineMs: 3_000 }, this.host.now);
    }
  }

  /** Gossip is the one thing that may be lost, doubled, late and out of order even while the connection is fine. */
  #tell(tunnel: TunnelId, message: GossipMessage): void {
    for (const delayMs of this.#gossip.deliveries(this.host.random)) {
      const say = (): void => this.#send(this.#tunnels.get(tunnel)?.end, { type: 'gossip', message });
      if (delayMs === 0) say();
      else this.host.after(delayMs, say);
    }
  }

  #challenge(id: TunnelId): void {
    const tunnel = this.#tunnels.get(id);
    if (tunnel === undefined) return;
    tunnel.challenged = true;
    tunnel.liveness.handle({ type: 'challengeRequested' }, this.host.now);
    this.#performLiveness(tunnel);
  }

  #close(id: TunnelId, reason: string): void {
    const end = this.#tunnels.get(id)?.end;
    this.#send(end, { type: 'goodbye', reason });
    end?.close();
    // A closed stream is told after this turn, as a real one would.
    this.host.after(0, () => this.#closed(id, reason));
  }

  #ask(request: SessionRequest, otherwise: RootEvent): void {
    const session = this.#session;
    if (session === undefined) return void this.host.after(0, () => this.#toRoot(otherwise));
    const message: SessionUp = { request };
    session.end.send(message);
  }

  #doLink(effect: RegistryEffect): void {
    switch (effect.type) {
      case 'openSession':
        return this.#openSession(effect);
      case 'closeSession': {
        const session = this.#session?.number === effect.session ? this.#session : undefined;
        if (session !== undefined) this.#session = undefined;
        session?.end.close();
        return void this.host.after(0, () => this.#toLink({ type: 'sessionEnded', session: effect.session, detail: effect.detail }));
      }
      case 'sendHeartbeat':
        return this.#request(effect.session, { type: 'heartbeat', sequence: effect.sequence });
      case 'sendDrain':
        return this.#request(effect.session, { type: 'drain' });
      case 'sendLeave':
        return this.#request(effect.session, { type: 'leave' });
      case 'reportConnected':
        return this.#root?.handle({ type: 'registryConnected', incarnation: effect.incarnation }, this.host.now);
      case 'reportLost':
        return this.#root?.handle({ type: 'registryLost' }, this.host.now);
      case 'reportMembership':
        return this.#membership(effect.snapshot);
      case 'reportClaims':
        return this.#root?.handle({ ...effect, type: 'claimsObserved' }, this.host.now);
      case 'reportLeft':
        this.#note('has left');
        return void this.host.after(0, () => this.#onEnded?.());
    }
  }

  #membership(snapshot: Snapshot): void {
    this.#note(`knows (${snapshot.proxies.map((proxy) => proxy.id).join(',')}) as of ${String(snapshot.stamp.epoch)}.${String(snapshot.stamp.revision)}`);
    this.#root?.handle({ type: 'membershipChanged', snapshot }, this.host.now);
  }

  #request(session: number, request: SessionRequest): void {
    const message: SessionUp = { request };
    if (this.#session?.number === session) this.#session.end.send(message);
  }

  #openSession(effect: Extract<RegistryEffect, { type: 'openSession' }>): void {
    const { session: number } = effect;
    const ended = (detail: string): void => {
      if (this.#session?.number === number) this.#session = undefined;
      this.#toLink({ type: 'sessionEnded', session: number, detail });
    };
    this.#connect(
      this,
      effect.registry,
      this.host.bind((end) => {
        if (end === undefined) return ended('refused');
        this.#session = { number, end };
        end.listen({ onMessage: (message) => this.#answered(number, message as SessionDown), onEnd: ended });
        this.#request(number, {
          type: 'hello',
          minVersion: 1,
          maxVersion: 1,
          proxy: this.id,
          instanceNonce: this.nonce,
          peerAddress: `${this.id}:7201`,
          tunnelAddress: `${this.id}:7200`,
          generation: this.generation,
          software: 'simulated',
          incarnation: effect.incarnation,
          newestStamp: this.#link?.view()?.stamp,
        });
      }),
    );
  }

  #answered(session: number, { reply }: SessionDown): void {
    if (this.#session?.number !== session) return;
    const forLink = linkEvent(session, reply);
    if (forLink !== undefined) return this.#toLink(forLink);
    const forRoot = claimEvent(reply);
    if (forRoot !== undefined) this.#toRoot(forRoot);
  }

  #send(end: End | undefined, message: ProxyMessage): void {
    end?.send(message);
  }

  #note(what: string): void {
    this.#trace.add(this.#clock(), this.host.name, what);
  }
}
