import { defaultRootConfig } from '@xylem/discovery';
import type {
  AgentId,
  GossipMessage,
  Incarnation,
  InstanceNonce,
  LeafId,
  ProxyId,
  RootCloseReason,
  RootConfig,
  RootEffect,
  RootEvent,
  TunnelId,
} from '@xylem/discovery';
import type { CoreMakers, LinkCore, LivenessCore, RootCore } from './cores.ts';
import type { GossipFaults } from './gossip-faults.ts';
import type { Host } from './host.ts';
import type { AgentMessage, ProxyMessage } from './messages.ts';
import type { End } from './network.ts';
import { ProxySession } from './proxy-session.ts';
import type { SessionOwner } from './proxy-session.ts';
import type { PeerSeen, Trace } from './trace.ts';

/** Opens a session stream to a registry; undefined when nothing accepts. */
export type SessionDialler = (proxy: ProxyProcess, registry: string, answer: (end: End | undefined) => void) => void;

/** What checkers see of a tunnel. */
export type TunnelEnd = Readonly<Pick<Tunnel, 'id' | 'leaf' | 'agent' | 'end' | 'granted'>>;

interface Tunnel {
  readonly id: TunnelId;
  readonly end: End;
  readonly leaf: LeafId;
  readonly agent: AgentId;
  readonly liveness: LivenessCore;
  /** The slot of the last grant that was sent. */
  granted: number | undefined;
  grantedOffline: boolean;
  drainAnnounced: boolean;
  challenged: boolean;
}

/** One root proxy: its real cores, with tunnels, registry sessions and gossip simulated. */
export class ProxyProcess {
  readonly host: Host;
  readonly id: ProxyId;
  readonly generation: number;
  readonly #config: RootConfig;
  readonly #cores: CoreMakers;
  readonly #session: ProxySession;
  readonly #gossip: GossipFaults;
  readonly #trace: Trace;
  readonly #clock: () => number;
  readonly #tunnels = new Map<TunnelId, Tunnel>();
  #root: RootCore | undefined;
  #lives = 0;
  #onEnded: (() => void) | undefined;
  /** Tunnels that asked to stand by: for the trace. */
  readonly #waiting = new Set<TunnelId>();
  #turns = 0;
  #dials = 0;

  constructor(parts: {
    readonly host: Host;
    readonly generation?: number;
    readonly config?: Partial<RootConfig>;
    readonly registries: readonly string[];
    readonly connect: SessionDialler;
    readonly cores: CoreMakers;
    readonly gossip: GossipFaults;
    readonly trace: Trace;
    readonly clock: () => number;
  }) {
    this.host = parts.host;
    this.id = parts.host.name as ProxyId;
    this.generation = parts.generation ?? 0;
    this.#config = { ...defaultRootConfig(this.id), ...parts.config };
    this.#cores = parts.cores;
    this.#gossip = parts.gossip;
    this.#trace = parts.trace;
    this.#clock = parts.clock;
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
      inform: (event) => this.#root?.handle(event, this.host.now),
      perform: () => this.#perform(),
      ended: () => this.#onEnded?.(),
    };
  }

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

  get nonce(): InstanceNonce {
    return `${this.host.name}-${String(this.#lives)}` as InstanceNonce;
  }

  /** Tunnels as this end sees them: for checkers. */
  tunnelEnds(): readonly TunnelEnd[] {
    return [...this.#tunnels.values()];
  }

  /** Users come: one connection over every claimed tunnel, carrying incarnation and token as production does. */
  dialNodes(): void {
    const status = this.#root?.status();
    for (const { tunnel, state, token } of status?.tunnels ?? []) {
      if (state !== 'claimed' && state !== 'provisional') continue;
      this.#dials += 1;
      this.#send(this.#tunnels.get(tunnel)?.end, {
        type: 'dial',
        dial: this.#dials,
        incarnation: status?.incarnation ?? (0n as Incarnation),
        token,
      });
    }
  }

  start(): void {
    this.#lives += 1;
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
    const liveness = this.#cores.proxyLiveness(this.host);
    this.#tunnels.set(tunnel, {
      id: tunnel,
      end,
      leaf,
      agent,
      liveness,
      granted: undefined,
      grantedOffline: false,
      drainAnnounced: false,
      challenged: false,
    });
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
        this.#waiting.add(id);
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
    this.#waiting.delete(id);
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
    for (const tunnel of this.#tunnels.values()) due.push(tunnel.liveness.nextTimeout());
    const next = due.reduce(
      (least, at) => (at !== undefined && (least === undefined || at < least) ? at : least),
      undefined,
    );
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
    this.#session.timeout(now);
    if (isDue(this.#root?.nextTimeout())) this.#root?.handle({ type: 'timeout' }, now);
    this.#perform();
  }

  #performLiveness(tunnel: Tunnel): void {
    for (let effect = tunnel.liveness.pollEffect(); effect !== undefined; effect = tunnel.liveness.pollEffect()) {
      if (effect.type === 'sendPing') this.#send(tunnel.end, { type: 'ping', nonce: effect.nonce });
      else if (effect.type === 'reportAlive') {
        this.#answersChallenge(tunnel);
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
        return this.#grant(effect.tunnel, effect.slot);
      case 'confirmClaim':
        this.#noteRecorded(effect.tunnel);
        return this.#send(end, {
          type: 'recorded',
          slot: effect.slot,
          token: effect.token,
          incarnation: effect.incarnation,
        });
      case 'reportHeld':
        return this.#send(end, { type: 'held', holder: effect.holder });
      case 'sendGossip':
        return this.#tell(effect.tunnel, effect.message);
      case 'challengeTunnel':
        return this.#challenge(effect.tunnel);
      case 'closeTunnel':
        return this.#close(effect.tunnel, effect.reason, effect.detail);
      case 'announceDrain':
        this.#announced(effect.tunnel);
        return this.#send(end, { type: 'drain', spreadMs: effect.spreadMs, deadlineMs: effect.deadlineMs });
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

  #answersChallenge(tunnel: Tunnel): void {
    if (!tunnel.challenged) return;
    tunnel.challenged = false;
    this.#note(`challenge answered by ${tunnel.id}`);
    this.#toRoot({ type: 'challengeAnswered', tunnel: tunnel.id });
  }

  #challenge(id: TunnelId): void {
    const tunnel = this.#tunnels.get(id);
    if (tunnel === undefined) return;
    this.#note(`challenges ${id}`);
    tunnel.challenged = true;
    tunnel.liveness.handle({ type: 'challengeRequested' }, this.host.now);
    this.#performLiveness(tunnel);
  }

  #grant(id: TunnelId, slot: number): void {
    const tunnel = this.#tunnels.get(id);
    if (tunnel === undefined) return;
    this.#note(`${this.#waiting.delete(id) ? 'promotes standby' : 'grants slot'} ${String(slot)} to ${id}`);
    tunnel.granted = slot;
    tunnel.grantedOffline = this.#root?.status().registryConnected === false;
    this.#send(tunnel.end, { type: 'granted', slot });
  }

  #noteRecorded(id: TunnelId): void {
    const tunnel = this.#tunnels.get(id);
    if (tunnel?.grantedOffline !== true) return;
    tunnel.grantedOffline = false;
    this.#note(`records a claim that was provisional: ${id}`);
  }

  #announced(id: TunnelId): void {
    const tunnel = this.#tunnels.get(id);
    if (tunnel !== undefined) tunnel.drainAnnounced = true;
  }

  #close(id: TunnelId, reason: RootCloseReason, detail: string): void {
    const tunnel = this.#tunnels.get(id);
    if (tunnel === undefined) return;
    this.#note(`closes ${id}: ${reason}: ${detail}`);
    this.#trace.tell({
      type: 'tunnelGivenUp',
      proxy: this.id,
      tunnel: id,
      reason,
      detail,
      drainAnnounced: tunnel.drainAnnounced,
      peer: seenPeer(tunnel.end),
    });
    tunnel.granted = undefined;
    this.#send(tunnel.end, { type: 'goodbye', reason: `${reason}: ${detail}` });
    tunnel.end.close();
    // A closed stream is told after this turn, as a real one would.
    this.host.after(0, () => this.#closed(id, reason));
  }

  #send(end: End | undefined, message: ProxyMessage): void {
    end?.send(message);
  }

  #note(what: string): void {
    this.#trace.add(this.#clock(), this.host.name, what);
  }
}

function seenPeer({ peerDiedAt, peer }: End): PeerSeen {
  return { alive: peerDiedAt === undefined, troubled: peer.everPaused };
}
