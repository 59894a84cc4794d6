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
import { AgentTunnel } from './agent-tunnel.ts';
import type { CoreMakers, LeafCore } from './cores.ts';
import { FencedDials } from './fenced-dials.ts';
import type { NodeDial } from './fenced-dials.ts';
import type { Host } from './host.ts';
import type { ProxyMessage } from './messages.ts';
import type { End } from './network.ts';
import type { Trace } from './trace.ts';

/** Connects an agent to the balancer's address; answers with its end, or with how that failed. */
export type Dialler = (
  agent: AgentProcess,
  target: ProxyId | undefined,
  answer: (reached: End | DialFailure) => void,
) => void;

/** One leaf agent: its real core, with dials, tunnels and liveness simulated. */
export class AgentProcess {
  readonly host: Host;
  readonly leaf: LeafId;
  readonly agent: AgentId;
  readonly #config: LeafConfig;
  readonly #cores: CoreMakers;
  readonly #dial: Dialler;
  readonly #trace: Trace;
  readonly #clock: () => number;
  readonly #tunnels = new Map<TunnelId, AgentTunnel>();
  readonly #dials = new Map<DialId, End | undefined>();
  readonly #lastMet = new Map<ProxyId, number>();
  #brain: LeafCore | undefined;
  #nodes: FencedDials | undefined;
  #lives = 0;
  #nextTunnel = 0;
  #dialsMade = 0;
  #turns = 0;

  constructor(parts: {
    readonly host: Host;
    readonly config: LeafConfig;
    readonly cores: CoreMakers;
    readonly dial: Dialler;
    readonly trace: Trace;
    readonly clock: () => number;
  }) {
    this.host = parts.host;
    this.leaf = parts.config.leaf;
    this.agent = parts.config.agent;
    this.#config = parts.config;
    this.#cores = parts.cores;
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

  /** Which start of the proxy's process this one shook hands with last: for checkers. */
  lastMet(proxy: ProxyId): number | undefined {
    return this.#lastMet.get(proxy);
  }

  start(): void {
    this.#lives += 1;
    this.host.start();
    this.#reset();
    this.#brain = this.#cores.leaf(this.#config, this.host);
    this.#nodes = new FencedDials(this.host.name, this.#cores.fence(), this.#trace, (what) => this.#note(what));
    this.#note('starts');
    this.#perform();
  }

  crash(): void {
    this.#note('crashes');
    this.#brain = undefined;
    this.#nodes = undefined;
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
    this.#lastMet.clear();
  }

  #handle(event: LeafEvent): void {
    this.#brain?.handle(event, this.host.now);
    if (event.type === 'gossipReceived' && this.#brain !== undefined) this.#nodes?.believes(this.#brain.status());
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
    const due = [this.#brain?.nextTimeout(), ...[...this.#tunnels.values()].map((tunnel) => tunnel.nextTimeout())];
    const next = due.reduce(
      (least, at) => (at !== undefined && (least === undefined || at < least) ? at : least),
      undefined,
    );
    this.host.wakeAt(next, () => this.#timeout());
  }

  #timeout(): void {
    const { now } = this.host;
    for (const tunnel of [...this.#tunnels.values()]) tunnel.timeout(now);
    const due = this.#brain?.nextTimeout();
    if (due !== undefined && due <= now) this.#brain?.handle({ type: 'timeout' }, now);
    this.#perform();
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
        return this.#tunnels.get(effect.tunnel)?.send({ type: 'standby' });
      case 'requestSnapshot':
        this.#note('asks for a snapshot');
        return this.#tunnels.get(effect.tunnel)?.send({ type: 'snapshotWanted', have: effect.have });
      case 'showEvidence':
        this.#note('shows what was signed');
        return this.#tunnels.get(effect.tunnel)?.send({ type: 'evidence', evidence: effect.evidence });
      case 'closeTunnel': {
        const tunnel = this.#tunnels.get(effect.tunnel);
        if (tunnel === undefined) return;
        this.#note(`closes ${tunnel.proxy}: ${effect.reason}`);
        this.#tellGivenUp(tunnel, effect.reason);
        tunnel.send({ type: 'goodbye', reason: effect.reason });
        tunnel.end.close();
        return void this.host.after(0, () => this.#closed(tunnel.id, true, effect.reason));
      }
    }
  }

  #tellGivenUp({ granted, proxy, drainAnnounced }: AgentTunnel, reason: string): void {
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
    end.send({ type: 'hello', leaf: this.leaf, agent: this.agent, nonce: this.nonce, tunnel, replaces });
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
        return this.#recorded(tunnel, message);
      case 'held':
        this.#note(`finds ${tunnel.proxy} held by ${message.holder}`);
        return this.#handle({ type: 'claimHeld', tunnel: id, holder: message.holder });
      case 'gossip':
        return this.#handle({ type: 'gossipReceived', tunnel: id, message: message.message });
      case 'ping':
        return tunnel.send({ type: 'pong', nonce: message.nonce });
      case 'pong':
        tunnel.ponged(message.nonce);
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

  #recorded(tunnel: AgentTunnel, { token, incarnation }: Extract<ProxyMessage, { type: 'recorded' }>): void {
    this.#nodes?.recorded(tunnel, incarnation, token);
    this.#handle({ type: 'claimRecorded', tunnel: tunnel.id, token, incarnation });
  }

  /** A user's connection. */
  #serveDial(tunnel: AgentTunnel, dial: NodeDial): void {
    const served = this.#nodes?.serve(tunnel, dial) === true;
    tunnel.send({ type: 'dialAnswer', dial: dial.dial, outcome: served ? 'connected' : 'stale-incarnation' });
  }

  #welcomed(dial: DialId, id: TunnelId, end: End, welcome: Extract<ProxyMessage, { type: 'welcome' }>): void {
    if (!this.#dials.delete(dial)) return end.reset();
    const { proxy, incarnation, via, life } = welcome;
    const admitted = this.#nodes?.admit(proxy, incarnation, life);
    if (admitted === undefined) return end.reset();
    this.#lastMet.set(proxy, life);
    const liveness = this.#cores.agentLiveness(this.host);
    const onSilent = (): void => this.#closed(id, false, 'silent');
    this.#tunnels.set(id, new AgentTunnel({ id, proxy, end, admitted, life }, this.host, liveness, onSilent));
    this.#note(via === undefined ? `reaches ${proxy} directly` : `reaches ${proxy} relayed by ${via}`);
    this.#handle({ type: 'tunnelEstablished', dial, tunnel: id, proxy, incarnation, via });
  }

  #note(what: string): void {
    this.#trace.add(this.#clock(), this.host.name, what);
  }
}
