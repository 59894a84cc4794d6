import type {
  AgentId,
  DialFailure,
  DialId,
  InstanceNonce,
  LeafConfig,
  LeafEffect,
  LeafEvent,
  LeafId,
  ProxyId,
  TunnelId,
} from '@xylem/discovery';
import type { CoreMakers, LeafCore, LivenessCore } from './cores.ts';
import type { Host } from './host.ts';
import type { AgentMessage, ProxyMessage } from './messages.ts';
import type { End } from './network.ts';
import type { Trace } from './trace.ts';

/** Connects an agent to the balancer's address; answers with its end, or with how that failed. */
export type Dialler = (
  agent: AgentProcess,
  target: ProxyId | undefined,
  answer: (reached: End | DialFailure) => void,
) => void;

interface Tunnel {
  readonly id: TunnelId;
  readonly end: End;
  readonly proxy: ProxyId;
  readonly liveness: LivenessCore;
  granted: boolean;
  drainAnnounced: boolean;
}

/** One leaf agent: its real core, with dials, tunnels and liveness simulated. */
export class AgentProcess {
  readonly host: Host;
  readonly leaf: LeafId;
  readonly agent: AgentId;
  readonly #config: LeafConfig;
  readonly #cores: CoreMakers;
  readonly #fenced: boolean;
  readonly #dial: Dialler;
  readonly #trace: Trace;
  readonly #clock: () => number;
  readonly #tunnels = new Map<TunnelId, Tunnel>();
  readonly #dials = new Map<DialId, End | undefined>();
  /** Greatest incarnation seen of each proxy: the fence of forwarded dials. */
  readonly #seen = new Map<ProxyId, bigint>();
  #brain: LeafCore | undefined;
  #lives = 0;
  #nextTunnel = 0;
  #dialsMade = 0;
  #turns = 0;

  constructor(parts: {
    readonly host: Host;
    readonly config: LeafConfig;
    readonly cores: CoreMakers;
    /** False for a planted bug: dials of any incarnation are served. */
    readonly fenced: boolean;
    readonly dial: Dialler;
    readonly trace: Trace;
    readonly clock: () => number;
  }) {
    this.host = parts.host;
    this.leaf = parts.config.leaf;
    this.agent = parts.config.agent;
    this.#config = parts.config;
    this.#cores = parts.cores;
    this.#fenced = parts.fenced;
    this.#dial = parts.dial;
    this.#trace = parts.trace;
    this.#clock = parts.clock;
  }

  get brain(): LeafCore | undefined {
    return this.#brain;
  }

  get nonce(): InstanceNonce {
    return `${this.host.name}-${String(this.#lives)}` as InstanceNonce;
  }

  /** Rises whenever the core was told something: checkers look again then. */
  get turns(): number {
    return this.#turns;
  }

  /** Connections opened to the balancer since the simulation began. */
  get dialsMade(): number {
    return this.#dialsMade;
  }

  /** Proxies that this agent has a tunnel to, for the adversary among the balancers. */
  get connectedProxies(): ReadonlySet<string> {
    return new Set([...this.#tunnels.values()].map((tunnel) => tunnel.proxy));
  }

  /** Tunnels as this end sees them: for checkers. */
  tunnelEnds(): readonly { readonly tunnel: TunnelId; readonly proxy: ProxyId; readonly end: End }[] {
    return [...this.#tunnels.values()].map(({ id, proxy, end }) => ({ tunnel: id, proxy, end }));
  }

  start(): void {
    this.#lives += 1;
    this.host.start();
    this.#reset();
    this.#brain = this.#cores.leaf(this.#config, this.host);
    this.#note('starts');
    this.#perform();
  }

  crash(): void {
    this.#note('crashes');
    this.#brain = undefined;
    this.#reset();
    this.host.crash();
  }

  leave(deadlineMs: number): void {
    this.#note('leaves');
    this.#handle({ type: 'leaveRequested', deadlineMs });
  }

  #reset(): void {
    this.#tunnels.clear();
    this.#dials.clear();
    this.#seen.clear();
  }

  #handle(event: LeafEvent): void {
    this.#brain?.handle(event, this.host.now);
    this.#perform();
  }

  #perform(): void {
    const brain = this.#brain;
    this.#turns += 1;
    if (brain === undefined) return;
    for (let effect = brain.pollEffect(); effect !== undefined; effect = brain.pollEffect()) this.#do(effect);
    this.#wake();
  }

  #wake(): void {
    const due = [
      this.#brain?.nextTimeout(),
      ...[...this.#tunnels.values()].map((tunnel) => tunnel.liveness.nextTimeout()),
    ];
    const next = due.reduce(
      (least, at) => (at !== undefined && (least === undefined || at < least) ? at : least),
      undefined,
    );
    this.host.wakeAt(next, () => this.#timeout());
  }

  #timeout(): void {
    const { now } = this.host;
    for (const tunnel of [...this.#tunnels.values()]) {
      const due = tunnel.liveness.nextTimeout();
      if (due === undefined || due > now) continue;
      tunnel.liveness.handle({ type: 'timeout' }, now);
      this.#performLiveness(tunnel);
    }
    const due = this.#brain?.nextTimeout();
    if (due !== undefined && due <= now) this.#brain?.handle({ type: 'timeout' }, now);
    this.#perform();
  }

  #performLiveness(tunnel: Tunnel): void {
    for (let effect = tunnel.liveness.pollEffect(); effect !== undefined; effect = tunnel.liveness.pollEffect()) {
      if (effect.type === 'sendPing') this.#send(tunnel.end, { type: 'ping', nonce: effect.nonce });
      if (effect.type === 'declareDead') {
        tunnel.end.reset();
        this.#closed(tunnel.id, false, 'silent');
      }
    }
  }

  #do(effect: LeafEffect): void {
    switch (effect.type) {
      case 'dial':
        return this.#startDial(effect);
      case 'cancelDial': {
        const end = this.#dials.get(effect.dial);
        this.#dials.delete(effect.dial);
        end?.reset();
        // Answered later, as every dial is.
        return void this.host.after(0, () =>
          this.#handle({ type: 'dialFailed', dial: effect.dial, reason: 'timeout', retryAfterMs: 0 }),
        );
      }
      case 'requestStandby':
        return this.#send(this.#tunnels.get(effect.tunnel)?.end, { type: 'standby' });
      case 'requestSnapshot':
        this.#note('asks for a snapshot');
        return this.#send(this.#tunnels.get(effect.tunnel)?.end, { type: 'snapshotWanted', have: effect.have });
      case 'closeTunnel': {
        const tunnel = this.#tunnels.get(effect.tunnel);
        if (tunnel === undefined) return;
        this.#note(`closes ${tunnel.proxy}: ${effect.reason}`);
        this.#tellGivenUp(tunnel, effect.reason);
        this.#send(tunnel.end, { type: 'goodbye', reason: effect.reason });
        tunnel.end.close();
        return void this.host.after(0, () => this.#closed(tunnel.id, true, effect.reason));
      }
    }
  }

  #tellGivenUp({ granted, proxy, drainAnnounced }: Tunnel, reason: string): void {
    if (granted) this.#trace.tell({ type: 'claimGivenUp', agent: this.host.name, proxy, reason, drainAnnounced });
  }

  #startDial(effect: Extract<LeafEffect, { type: 'dial' }>): void {
    const { dial, target, replaces } = effect;
    this.#dialsMade += 1;
    this.#dials.set(dial, undefined);
    this.#note(`dials ${target ?? 'anyone'}${replaces === undefined ? '' : ' again, directly'}`);
    this.#dial(
      this,
      target,
      this.host.bind((reached) => {
        if (typeof reached === 'string') return this.#dialFailed(dial, reached, 0);
        if (!this.#dials.has(dial)) return reached.reset();
        this.#dials.set(dial, reached);
        this.#greet(dial, reached, replaces);
      }),
    );
  }

  #greet(dial: DialId, end: End, replaces: TunnelId | undefined): void {
    const tunnel = `${this.host.name}-${String(this.#lives)}.${String(this.#nextTunnel)}` as TunnelId;
    this.#nextTunnel += 1;
    end.listen({
      onMessage: (message) => this.#received(dial, tunnel, end, message as ProxyMessage),
      onEnd: (how) => {
        if (this.#dials.has(dial)) this.#dialFailed(dial, 'lost', 0);
        else this.#closed(tunnel, false, how);
      },
    });
    this.#send(end, { type: 'hello', leaf: this.leaf, agent: this.agent, nonce: this.nonce, tunnel, replaces });
  }

  #dialFailed(dial: DialId, reason: DialFailure, retryAfterMs: number): void {
    if (!this.#dials.delete(dial)) return;
    this.#note(`dial failed: ${reason}`);
    this.#handle({ type: 'dialFailed', dial, reason, retryAfterMs });
  }

  #closed(id: TunnelId, graceful: boolean, reason: string): void {
    const tunnel = this.#tunnels.get(id);
    if (tunnel === undefined) return;
    this.#tunnels.delete(id);
    this.#note(`tunnel to ${tunnel.proxy} over: ${reason}`);
    this.#handle({ type: 'tunnelClosed', tunnel: id, graceful, reason });
  }

  #received(dial: DialId, id: TunnelId, end: End, message: ProxyMessage): void {
    if (message.type === 'welcome') return this.#welcomed(dial, id, end, message);
    if (message.type === 'refused') {
      end.close();
      return this.#dialFailed(dial, message.reason, message.retryAfterMs);
    }
    const tunnel = this.#tunnels.get(id);
    if (tunnel === undefined) return;
    switch (message.type) {
      case 'granted':
        tunnel.granted = true;
        this.#note(`holds ${tunnel.proxy}`);
        return this.#handle({ type: 'claimGranted', tunnel: id, slot: message.slot });
      case 'recorded':
        this.#see(tunnel.proxy, message.incarnation);
        return this.#handle({
          type: 'claimRecorded',
          tunnel: id,
          token: message.token,
          incarnation: message.incarnation,
        });
      case 'held':
        this.#note(`finds ${tunnel.proxy} held by ${message.holder}`);
        return this.#handle({ type: 'claimHeld', tunnel: id, holder: message.holder });
      case 'gossip':
        return this.#handle({ type: 'gossipReceived', tunnel: id, message: message.message });
      case 'ping':
        return this.#send(end, { type: 'pong', nonce: message.nonce });
      case 'pong':
        tunnel.liveness.handle({ type: 'pongReceived', nonce: message.nonce }, this.host.now);
        this.#performLiveness(tunnel);
        return this.#wake();
      case 'drain':
        tunnel.drainAnnounced = true;
        return this.#handle({
          type: 'drainAnnounced',
          tunnel: id,
          spreadMs: message.spreadMs,
          deadlineMs: message.deadlineMs,
        });
      case 'goodbye':
        end.close();
        return this.#closed(id, true, message.reason);
      case 'dial':
        return this.#serveDial(tunnel, message);
    }
  }

  /** A user's connection: served unless a newer incarnation of the proxy is known (S3). */
  #serveDial({ proxy, end }: Tunnel, { dial, incarnation }: Extract<ProxyMessage, { type: 'dial' }>): void {
    const seen = this.#seen.get(proxy) ?? 0n;
    const stale = this.#fenced && incarnation < seen;
    if (stale) this.#note(`refuses a dial of a stale incarnation of ${proxy}`);
    else this.#trace.tell({ type: 'dialServed', agent: this.host.name, proxy, incarnation, seen });
    this.#send(end, { type: 'dialAnswer', dial, outcome: stale ? 'stale-incarnation' : 'connected' });
  }

  #welcomed(dial: DialId, id: TunnelId, end: End, welcome: Extract<ProxyMessage, { type: 'welcome' }>): void {
    if (!this.#dials.delete(dial)) return end.reset();
    const { proxy, incarnation, via } = welcome;
    this.#see(proxy, incarnation);
    this.#tunnels.set(id, {
      id,
      end,
      proxy,
      liveness: this.#cores.agentLiveness(this.host),
      granted: false,
      drainAnnounced: false,
    });
    this.#note(via === undefined ? `reaches ${proxy} directly` : `reaches ${proxy} relayed by ${via}`);
    this.#handle({ type: 'tunnelEstablished', dial, tunnel: id, proxy, incarnation, via });
  }

  #see(proxy: ProxyId, incarnation: bigint): void {
    if (incarnation > (this.#seen.get(proxy) ?? 0n)) this.#seen.set(proxy, incarnation);
  }

  #send(end: End | undefined, message: AgentMessage): void {
    end?.send(message);
  }

  #note(what: string): void {
    this.#trace.add(this.#clock(), this.host.name, what);
  }
}
