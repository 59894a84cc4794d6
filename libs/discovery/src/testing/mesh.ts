import { defaultLeafConfig } from '../leaf/defaults.ts';
import type { LeafConfig, LeafEffect, LeafEvent } from '../leaf/types.ts';
import { defaultRootConfig } from '../root/defaults.ts';
import { RootDiscovery } from '../root/root-discovery.ts';
import type { RootConfig, RootEffect, RootEvent } from '../root/types.ts';
import type { ProxyRecord, ProxyState, Snapshot } from '../shared/gossip.ts';
import type {
  AgentId,
  DialId,
  FencingToken,
  Incarnation,
  InstanceNonce,
  LeafId,
  ProxyId,
  TunnelId,
} from '../shared/ids.ts';
import type { Instant, Random } from '../shared/time.ts';
import { createAgent, type DiscoveryAgent, type StrategyName } from '../strategies.ts';
import { seededRandom } from './random.ts';

interface Attachment {
  readonly tunnel: TunnelId;
  readonly agent: Agent;
  readonly proxy: Proxy;
}

interface Agent {
  readonly leaf: LeafId;
  readonly id: AgentId;
  readonly nonce: InstanceNonce;
  readonly core: DiscoveryAgent;
  readonly dials: Set<DialId>;
  alive: boolean;
}

interface Proxy {
  readonly id: ProxyId;
  readonly core: RootDiscovery;
  incarnation: Incarnation;
  state: ProxyState;
  alive: boolean;
}

export interface MeshOptions {
  readonly seed?: number;
  /** One way, in milliseconds. Default 1. */
  readonly latencyMs?: number;
  readonly leaf?: Partial<LeafConfig>;
  readonly root?: Partial<RootConfig>;
  /** Which of the live proxies the balancer gives an attempt. Default: round robin. */
  readonly balancer?: (attempt: number, live: readonly ProxyId[]) => ProxyId | undefined;
  /** Whether proxies relay attempts that are steered elsewhere. Default true. */
  readonly relay?: boolean;
  readonly strategy?: StrategyName;
}

/**
 * Real agents and real root proxies around a model of balancer and registry, in virtual time: enough to test exchanges
 * of the two cores. Faults, other protocols and safety checkers are the simulator's.
 */
export class Mesh {
  readonly proxies = new Map<ProxyId, Proxy>();
  readonly agents = new Map<string, Agent>();
  readonly #attachments = new Map<TunnelId, Attachment>();
  readonly #options: MeshOptions;
  readonly #random: Random;
  #agenda: { at: Instant; order: number; run: () => void }[] = [];
  #order = 0;
  #revision = 100n;
  #attempts = 0;
  #tunnels = 0;
  now: Instant = 0;
  registryUp = true;
  /** How often and how late each gossip message reaches its agent: one delay per copy. Default: once, at once. */
  gossipFault: ((random: Random) => readonly number[]) | undefined;

  constructor(options: MeshOptions = {}) {
    this.#options = options;
    this.#random = seededRandom(options.seed ?? 1);
  }

  addProxy(name: string): Proxy {
    const id = name as ProxyId;
    this.#revision += 1n;
    const core = new RootDiscovery({ ...defaultRootConfig(id), ...this.#options.root }, this.#random, this.now);
    const proxy: Proxy = { id, core, incarnation: this.#revision as Incarnation, state: 'ready', alive: true };
    this.proxies.set(id, proxy);
    if (this.registryUp) this.tellProxy(proxy, { type: 'registryConnected', incarnation: proxy.incarnation });
    this.publish();
    return proxy;
  }

  addAgent(leaf: string, agent: string, nonce = `${agent}-1`): Agent {
    const config = { ...defaultLeafConfig(leaf as LeafId, agent as AgentId), ...this.#options.leaf };
    const core = createAgent(this.#options.strategy ?? 'stamped', config, this.#random, this.now);
    const id = agent as AgentId;
    const added: Agent = {
      leaf: leaf as LeafId,
      id,
      nonce: nonce as InstanceNonce,
      core,
      dials: new Set(),
      alive: true,
    };
    this.agents.set(`${leaf}/${nonce}`, added);
    this.#drainAgent(added);
    return added;
  }

  snapshot(): Snapshot {
    const proxies: ProxyRecord[] = [...this.proxies.values()].map(({ id, incarnation, state }) => ({
      id,
      incarnation,
      state,
      generation: 0,
    }));
    return { kind: 'snapshot', stamp: { epoch: 1n, revision: this.#revision }, proxies };
  }

  /** A new revision of the membership reaches every live proxy. */
  publish(): void {
    if (!this.registryUp) return;
    this.#revision += 1n;
    const snapshot = this.snapshot();
    for (const proxy of this.proxies.values())
      this.#later(0, () => this.tellProxy(proxy, { type: 'membershipChanged', snapshot }));
  }

  /** The process dies: its tunnels break; its member record stays until `forget`. */
  killProxy(name: string): void {
    const proxy = this.#proxy(name);
    proxy.alive = false;
    for (const attachment of this.#attachmentsOf(proxy)) this.#break(attachment, 'lost');
  }

  /** The member record of a proxy is gone from etcd. */
  forget(name: string): void {
    this.proxies.delete(name as ProxyId);
    this.publish();
  }

  killAgent(leaf: string, nonce: string): void {
    const agent = this.agents.get(`${leaf}/${nonce}`);
    if (agent === undefined) throw new Error(`no agent ${leaf}/${nonce}`);
    agent.alive = false;
    this.agents.delete(`${leaf}/${nonce}`);
    for (const attachment of [...this.#attachments.values()])
      if (attachment.agent === agent) this.#break(attachment, 'lost');
  }

  /** Every connection breaks at once, as when the balancer restarts. */
  cutAll(): void {
    for (const attachment of [...this.#attachments.values()]) this.#break(attachment, 'lost');
  }

  drainProxy(name: string, spreadMs: number, deadlineMs: number): void {
    this.tellProxy(this.#proxy(name), { type: 'drainRequested', spreadMs, deadlineMs });
  }

  /** Runs everything that is due until `at`. */
  runUntil(at: Instant): void {
    for (;;) {
      const next = this.#nextInstant();
      if (next === undefined || next > at) break;
      this.now = Math.max(this.now, next);
      this.#agenda.sort((a, b) => a.at - b.at || a.order - b.order);
      const item = this.#agenda[0];
      if (item !== undefined && item.at <= this.now) {
        this.#agenda.shift();
        item.run();
        continue;
      }
      this.#fireTimeouts();
    }
    this.now = at;
  }

  /** Runs until `done`, at most `limitMs` long; returns how long it took. */
  runWhile(done: () => boolean, limitMs: number): number {
    const start = this.now;
    while (!done()) {
      if (this.now - start >= limitMs) throw new Error(`not reached within ${limitMs} ms`);
      this.runUntil(this.now + 1);
    }
    return this.now - start;
  }

  /** Live proxies that `agent` has claimed, sorted. */
  claimedBy(agent: Agent): string[] {
    return agent.core.status().entries.flatMap((entry) => (entry.state === 'claimed' ? [entry.proxy as string] : []));
  }

  get attempts(): number {
    return this.#attempts;
  }

  tellProxy(proxy: Proxy, event: RootEvent): void {
    if (!proxy.alive) return;
    proxy.core.handle(event, this.now);
    proxy.core.checkInvariants();
    for (let effect = proxy.core.pollEffect(); effect !== undefined; effect = proxy.core.pollEffect()) {
      this.#perform(proxy, effect);
    }
  }

  tellAgent(agent: Agent, event: LeafEvent): void {
    if (!agent.alive) return;
    agent.core.handle(event, this.now);
    this.#drainAgent(agent);
  }

  #drainAgent(agent: Agent): void {
    for (let effect = agent.core.pollEffect(); effect !== undefined; effect = agent.core.pollEffect()) {
      this.#performLeaf(agent, effect);
    }
  }

  #fireTimeouts(): void {
    for (const proxy of this.proxies.values()) {
      if ((proxy.core.nextTimeout() ?? Infinity) <= this.now) this.tellProxy(proxy, { type: 'timeout' });
    }
    for (const agent of this.agents.values()) {
      if ((agent.core.nextTimeout() ?? Infinity) <= this.now) this.tellAgent(agent, { type: 'timeout' });
    }
  }

  #nextInstant(): Instant | undefined {
    let next = Infinity;
    for (const item of this.#agenda) next = Math.min(next, item.at);
    for (const proxy of this.proxies.values())
      if (proxy.alive) next = Math.min(next, proxy.core.nextTimeout() ?? Infinity);
    for (const agent of this.agents.values()) next = Math.min(next, agent.core.nextTimeout() ?? Infinity);
    return next === Infinity ? undefined : next;
  }

  #later(delayMs: number, run: () => void): void {
    this.#order += 1;
    this.#agenda.push({ at: this.now + delayMs, order: this.#order, run });
  }

  #proxy(name: string): Proxy {
    const proxy = this.proxies.get(name as ProxyId);
    if (proxy === undefined) throw new Error(`no proxy ${name}`);
    return proxy;
  }

  #attachmentsOf(proxy: Proxy): Attachment[] {
    return [...this.#attachments.values()].filter((attachment) => attachment.proxy === proxy);
  }

  get #latency(): number {
    return this.#options.latencyMs ?? 1;
  }

  #dial(agent: Agent, effect: Extract<LeafEffect, { type: 'dial' }>): void {
    agent.dials.add(effect.dial);
    const fail = (reason: 'unreachable' | 'lost' | 'handshake'): void =>
      this.#later(2 * this.#latency, () => {
        if (agent.dials.delete(effect.dial))
          this.tellAgent(agent, { type: 'dialFailed', dial: effect.dial, reason, retryAfterMs: 0 });
      });
    const live = [...this.proxies.values()].filter((proxy) => proxy.alive).map((proxy) => proxy.id);
    const balancer = this.#options.balancer ?? ((attempt, ids) => ids[attempt % Math.max(1, ids.length)]);
    const first = balancer(this.#attempts, live);
    this.#attempts += 1;
    if (first === undefined) return fail('unreachable');
    const wanted = effect.target ?? first;
    if (wanted !== first && this.#options.relay === false) return fail('handshake');
    const target = this.proxies.get(wanted);
    if (target === undefined) return fail('handshake');
    if (!target.alive) return fail('lost');
    this.#later(2 * this.#latency, () => this.#attach(agent, effect, target, wanted === first ? undefined : first));
  }

  #attach(agent: Agent, effect: Extract<LeafEffect, { type: 'dial' }>, proxy: Proxy, via: ProxyId | undefined): void {
    if (!agent.dials.delete(effect.dial) || !agent.alive) return;
    if (!proxy.alive)
      return this.tellAgent(agent, { type: 'dialFailed', dial: effect.dial, reason: 'lost', retryAfterMs: 0 });
    this.#tunnels += 1;
    const tunnel = `t${this.#tunnels}` as TunnelId;
    this.#attachments.set(tunnel, { tunnel, agent, proxy });
    const incarnation = this.registryUp ? proxy.incarnation : proxy.core.status().incarnation;
    this.#later(this.#latency, () =>
      this.#toAgent(tunnel, {
        type: 'tunnelEstablished',
        dial: effect.dial,
        tunnel,
        proxy: proxy.id,
        incarnation,
        via,
      }),
    );
    const replaces =
      effect.replaces !== undefined && this.#attachments.get(effect.replaces)?.proxy === proxy
        ? effect.replaces
        : undefined;
    const { leaf, id, nonce } = agent;
    this.tellProxy(proxy, { type: 'attachRequested', tunnel, leaf, agent: id, nonce, replaces, via });
  }

  #toAgent(tunnel: TunnelId, event: LeafEvent): void {
    const attachment = this.#attachments.get(tunnel);
    if (attachment !== undefined) this.tellAgent(attachment.agent, event);
  }

  #toProxy(tunnel: TunnelId, event: RootEvent): void {
    this.#later(this.#latency, () => {
      const attachment = this.#attachments.get(tunnel);
      if (attachment !== undefined) this.tellProxy(attachment.proxy, event);
    });
  }

  /** Both ends learn of the end in the same instant, after what is under way. */
  #break(attachment: Attachment, reason: string, graceful = false): void {
    this.#later(2 * this.#latency, () => {
      if (!this.#attachments.delete(attachment.tunnel)) return;
      this.tellProxy(attachment.proxy, { type: 'tunnelClosed', tunnel: attachment.tunnel });
      this.tellAgent(attachment.agent, { type: 'tunnelClosed', tunnel: attachment.tunnel, graceful, reason });
    });
  }

  #performLeaf(agent: Agent, effect: LeafEffect): void {
    switch (effect.type) {
      case 'dial':
        return this.#dial(agent, effect);
      case 'cancelDial':
        if (!agent.dials.delete(effect.dial)) return;
        return this.#later(0, () =>
          this.tellAgent(agent, { type: 'dialFailed', dial: effect.dial, reason: 'lost', retryAfterMs: 0 }),
        );
      case 'requestStandby':
        return this.#toProxy(effect.tunnel, { type: 'standbyRequested', tunnel: effect.tunnel });
      case 'showEvidence':
        return;
      case 'requestSnapshot':
        return this.#toProxy(effect.tunnel, { type: 'snapshotRequested', tunnel: effect.tunnel });
      case 'closeTunnel': {
        const attachment = this.#attachments.get(effect.tunnel);
        if (attachment !== undefined) this.#break(attachment, effect.reason, true);
      }
    }
  }

  #perform(proxy: Proxy, effect: RootEffect): void {
    const send = (tunnel: TunnelId, event: LeafEvent): void =>
      this.#later(this.#latency, () => this.#toAgent(tunnel, event));
    switch (effect.type) {
      case 'grantClaim':
        return send(effect.tunnel, { type: 'claimGranted', tunnel: effect.tunnel, slot: effect.slot });
      case 'confirmClaim':
        return send(effect.tunnel, { ...effect, type: 'claimRecorded' });
      case 'reportHeld':
        return send(effect.tunnel, { type: 'claimHeld', tunnel: effect.tunnel, holder: effect.holder });
      case 'announceDrain':
        return send(effect.tunnel, { ...effect, type: 'drainAnnounced' });
      case 'sendGossip': {
        const { tunnel, message } = effect;
        for (const delayMs of this.gossipFault?.(this.#random) ?? [0]) {
          this.#later(this.#latency + delayMs, () =>
            this.#toAgent(tunnel, { type: 'gossipReceived', tunnel, message }),
          );
        }
        return;
      }
      case 'challengeTunnel': {
        const alive = this.#attachments.get(effect.tunnel)?.agent.alive === true;
        if (alive) this.#toProxy(effect.tunnel, { type: 'challengeAnswered', tunnel: effect.tunnel });
        return;
      }
      case 'closeTunnel': {
        const attachment = this.#attachments.get(effect.tunnel);
        if (attachment !== undefined) this.#break(attachment, effect.reason, true);
        return;
      }
      case 'recordClaim':
        this.#revision += 1n;
        return this.#answer(proxy, {
          type: 'claimRecorded',
          request: effect.request,
          token: this.#revision as FencingToken,
        });
      case 'releaseClaim':
        return this.#answer(proxy, { type: 'claimReleased', request: effect.request });
      case 'deregister':
        proxy.state = 'draining';
        return this.publish();
      case 'drained':
        this.forget(proxy.id);
    }
  }

  #answer(proxy: Proxy, event: RootEvent): void {
    this.#later(this.#latency, () => this.tellProxy(proxy, event));
  }
}
