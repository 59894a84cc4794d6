import { defaultRootConfig } from '@xylem/discovery';
import type { InstanceNonce, ProxyId, RootConfig, RootEffect, RootEvent, TunnelId } from '@xylem/discovery';
import type { CoreMakers, LinkCore, RootCore } from './cores.ts';
import type { GossipFaults } from './gossip-faults.ts';
import type { Host } from './host.ts';
import type { AgentMessage } from './messages.ts';
import type { End } from './network.ts';
import { isSigned } from './registry-messages.ts';
import { ProxySession } from './proxy-session.ts';
import type { SessionOwner } from './proxy-session.ts';
import { ProxyTunnel } from './proxy-tunnel.ts';
import type { ProxyTunnelListener } from './proxy-tunnel.ts';
import type { Trace } from './trace.ts';
import { ProxyVoice } from './proxy-voice.ts';
import { UserDials } from './user-dials.ts';

/** Opens a session stream to a registry; undefined when nothing accepts. */
export type SessionDialler = (proxy: ProxyProcess, registry: string, answer: (end: End | undefined) => void) => void;

/** One root proxy: its real cores, with tunnels, registry sessions and gossip simulated. */
export class ProxyProcess {
  readonly host: Host;
  readonly id: ProxyId;
  readonly generation: number;
  readonly #config: RootConfig;
  readonly #cores: CoreMakers;
  readonly #session: ProxySession;
  readonly #voice: ProxyVoice;
  readonly #trace: Trace;
  readonly #clock: () => number;
  readonly #tunnels = new Map<TunnelId, ProxyTunnel>();
  readonly #users = new UserDials();
  #root: RootCore | undefined;
  readonly #nextBirth: () => number;
  #lives = 0;
  #birth = 0;
  readonly #onRegistered: (birth: number) => void;
  #onEnded: (() => void) | undefined;
  #turns = 0;

  constructor(parts: {
    readonly id: ProxyId;
    readonly host: Host;
    readonly generation?: number;
    readonly config?: Partial<RootConfig>;
    readonly registries: readonly string[];
    readonly connect: SessionDialler;
    readonly cores: CoreMakers;
    readonly gossip: GossipFaults;
    readonly trace: Trace;
    readonly clock: () => number;
    /** Numbers the starts of all root proxies. */
    readonly birth: () => number;
    /** The life of this number is a member now. */
    readonly onRegistered: (birth: number) => void;
  }) {
    this.host = parts.host;
    this.id = parts.id;
    this.#nextBirth = parts.birth;
    this.#onRegistered = parts.onRegistered;
    this.generation = parts.generation ?? 0;
    this.#config = { ...defaultRootConfig(this.id), ...parts.config };
    this.#cores = parts.cores;
    this.#trace = parts.trace;
    this.#clock = parts.clock;
    this.#voice = new ProxyVoice({
      proxy: this.id,
      host: this.host,
      gossip: parts.gossip,
      trace: parts.trace,
      note: (what) => this.#note(what),
      tunnel: (id) => this.#tunnels.get(id),
      isConnected: () => this.#root?.status().registryConnected === true,
      closed: (id, reason) => this.#closed(id, reason),
    });
    this.#session = new ProxySession(this.#sessionOwner(parts.connect), parts.registries, parts.cores.link);
  }

  #sessionOwner(connect: SessionDialler): SessionOwner {
    const nonce = (): InstanceNonce => this.nonce;
    return {
      host: this.host,
      id: this.id,
      generation: this.generation,
      get nonce() {
        return nonce();
      },
      note: (what) => this.#note(what),
      connect: (registry, answer) => connect(this, registry, answer),
      inform: (event) => {
        if (event.type === 'registryConnected') this.#onRegistered(this.#birth);
        this.#root?.handle(event, this.host.now);
      },
      perform: () => this.#perform(),
      ended: () => this.#onEnded?.(),
    };
  }

  readonly #listener: ProxyTunnelListener = {
    answered: ({ id }) => {
      this.#note(`challenge answered by ${id}`);
      this.#toRoot({ type: 'challengeAnswered', tunnel: id });
    },
    silent: ({ id }) => this.#closed(id, 'silent'),
  };

  get root(): RootCore | undefined {
    return this.#root;
  }

  get link(): LinkCore | undefined {
    return this.#session.link;
  }

  /** Rises whenever a core was told something: checkers look again then. */
  get turns(): number {
    return this.#turns;
  }

  /** Whether it was told that another live instance has its name. */
  get contested(): boolean {
    return this.#session.contested;
  }

  get nonce(): InstanceNonce {
    return `${this.host.name}-${String(this.#lives)}` as InstanceNonce;
  }

  /** Tunnels as this end sees them: for checkers. */
  tunnelEnds(): readonly Pick<ProxyTunnel, 'id' | 'leaf' | 'agent' | 'end' | 'granted'>[] {
    return [...this.#tunnels.values()];
  }

  /** Users come: one connection over every claimed tunnel. */
  dialNodes(): void {
    const { root } = this;
    if (root === undefined) return;
    for (const { tunnel, dial } of this.#users.round(root.status(), this.#birth)) this.#tunnels.get(tunnel)?.send(dial);
  }

  /** Dials of the last round that did not come to a connection, for a person. */
  get unserved(): readonly string[] {
    return this.#users.unserved;
  }

  start(): void {
    this.#lives += 1;
    this.#birth = this.#nextBirth();
    this.host.start();
    this.#tunnels.clear();
    this.#root = this.#cores.root(this.#config, this.host);
    this.#session.start();
    this.#note('starts');
    this.#perform();
  }

  crash(): void {
    this.#note('crashes');
    this.#root = undefined;
    this.#session.crash();
    this.#tunnels.clear();
    this.#users.forget();
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
    const { tunnel: id, leaf, agent, nonce, replaces } = hello;
    const { incarnation } = root.status();
    const tunnel = new ProxyTunnel(hello, end, this.host, this.#cores.proxyLiveness(this.host), this.#listener);
    this.#tunnels.set(id, tunnel);
    tunnel.send({ type: 'welcome', proxy: this.id, incarnation, via, life: this.#birth });
    this.#toRoot({ type: 'attachRequested', tunnel: id, leaf, agent, nonce, replaces, via });
  }

  #received(id: TunnelId, message: AgentMessage): void {
    const tunnel = this.#tunnels.get(id);
    if (tunnel === undefined) return;
    switch (message.type) {
      case 'hello':
        return;
      case 'standby':
        this.#voice.standsBy(id);
        return this.#toRoot({ type: 'standbyRequested', tunnel: id });
      case 'ping':
        return tunnel.send({ type: 'pong', nonce: message.nonce });
      case 'pong':
        tunnel.ponged(message.nonce);
        return this.#wake();
      case 'snapshotWanted':
        return this.#toRoot({ type: 'snapshotRequested', tunnel: id });
      case 'evidence':
        if (isSigned(message.evidence)) this.#session.tell({ type: 'evidenceShown', evidence: message.evidence });
        return this.#perform();
      case 'drain':
        return this.#toRoot({ type: 'agentDraining', tunnel: id });
      case 'goodbye':
        tunnel.end.close();
        return this.#closed(id, message.reason);
      case 'dialAnswer':
        this.#users.answered(message.dial, message.outcome === 'connected');
        return this.#note(`dial ${String(message.dial)} over ${id}: ${message.outcome}`);
    }
  }

  #closed(id: TunnelId, how: string): void {
    if (!this.#tunnels.delete(id)) return;
    this.#voice.forget(id);
    this.#note(`tunnel ${id} over: ${how}`);
    this.#toRoot({ type: 'tunnelClosed', tunnel: id });
  }

  #toRoot(event: RootEvent): void {
    this.#root?.handle(event, this.host.now);
    this.#perform();
  }

  /** Runs both cores' effects to the end; the one may feed the other. */
  #perform(): void {
    this.#turns += 1;
    for (;;) {
      if (this.#session.step()) continue;
      const root = this.#root?.pollEffect();
      if (root === undefined) break;
      this.#doRoot(root);
    }
    this.#wake();
  }

  #wake(): void {
    const due = [this.#root?.nextTimeout(), this.link?.nextTimeout()];
    for (const tunnel of this.#tunnels.values()) due.push(tunnel.nextTimeout());
    const next = due.reduce(
      (least, at) => (at !== undefined && (least === undefined || at < least) ? at : least),
      undefined,
    );
    this.host.wakeAt(next, () => this.#timeout());
  }

  #timeout(): void {
    const { now } = this.host;
    for (const tunnel of [...this.#tunnels.values()]) tunnel.timeout(now);
    this.#session.timeout(now);
    const due = this.#root?.nextTimeout();
    if (due !== undefined && due <= now) this.#root?.handle({ type: 'timeout' }, now);
    this.#perform();
  }

  #doRoot(effect: RootEffect): void {
    switch (effect.type) {
      case 'recordClaim': {
        const { request, leaf, slot, agent, nonce } = effect;
        return this.#session.ask(
          { type: 'acquire', request: BigInt(request), leaf, slot, agent, nonce },
          { type: 'claimUnknown', request },
        );
      }
      case 'releaseClaim': {
        const { request, leaf, slot, token } = effect;
        return this.#session.ask(
          { type: 'release', request: BigInt(request), leaf, slot, token },
          { type: 'releaseUnknown', request },
        );
      }
      case 'deregister':
        return this.#session.tell({ type: 'drainRequested' });
      case 'drained':
        return this.#session.tell({ type: 'leaveRequested', deadlineMs: 3_000 });
      default:
        return this.#voice.perform(effect);
    }
  }

  #note(what: string): void {
    this.#trace.add(this.#clock(), this.host.name, what);
  }
}
