/**
 * The protocols that greedy discovery with stamps is compared with, for the simulator and golden scenarios only:
 * production never imports this file. Each is the real agent with another idea of what gossip means.
 *
 *   naive      the article's first protocol: the latest message is the truth, and a proxy outside it is dropped
 *   grow-only  the article's greedy rule and nothing else: whatever was ever mentioned is sought for ever
 *   expiry     greedy, but what nobody mentioned for a while is forgotten (Teleport: 3 minutes)
 *   stamped    ours
 */
import { assert } from './shared/assert.ts';
import type { Evidence, GossipMessage, ProxyRecord, Stamp } from './shared/gossip.ts';
import { checkMessage, type MergeOutcome } from './shared/gossip-view.ts';
import type { Incarnation, ProxyId, TunnelId } from './shared/ids.ts';
import { Queue } from './shared/queue.ts';
import type { Instant, Random } from './shared/time.ts';
import type { Knowledge, Verdict } from './leaf/knowledge.ts';
import { LeafDiscovery } from './leaf/leaf-discovery.ts';
import type { LeafConfig, LeafEffect, LeafEvent, LeafStatus } from './leaf/types.ts';

export type StrategyName = 'naive' | 'grow-only' | 'expiry' | 'stamped';
export const STRATEGIES: readonly StrategyName[] = ['naive', 'grow-only', 'expiry', 'stamped'];

/** What every agent core offers, whatever its protocol. */
export type DiscoveryAgent = Pick<LeafDiscovery, 'handle' | 'pollEffect' | 'nextTimeout' | 'status'>;

/** An agent that follows the protocol `name`. Arguments as for LeafDiscovery. */
export function createAgent(name: StrategyName, config: LeafConfig, random: Random, now: Instant): DiscoveryAgent {
  switch (name) {
    case 'naive':
      return new NaiveAgent(config, random, now);
    case 'grow-only':
      return new LeafDiscovery(config, random, now, new MentionedKnowledge(Infinity));
    case 'expiry':
      return new LeafDiscovery(config, random, now, new MentionedKnowledge(config.expiryMs));
    case 'stamped':
      return new LeafDiscovery(config, random, now);
  }
}

const NO_INCARNATION = 0n as Incarnation;

function verdictOf(record: Pick<ProxyRecord, 'incarnation' | 'generation'> | undefined): Verdict {
  if (record === undefined) return { kind: 'expired', incarnation: NO_INCARNATION, generation: 0 };
  return { kind: 'ready', incarnation: record.incarnation, generation: record.generation };
}

function recordsOf(message: GossipMessage): readonly ProxyRecord[] {
  return message.kind === 'snapshot' ? message.proxies : message.changed;
}

/** The latest message is the truth, in whatever order it came. */
export class LatestKnowledge implements Knowledge {
  readonly #listed = new Map<ProxyId, ProxyRecord>();
  readonly stamp: Stamp | undefined = undefined;
  readonly evidence: Evidence | undefined = undefined;

  receive(message: GossipMessage): MergeOutcome | 'invalid' {
    if (checkMessage(message) !== undefined) return 'invalid';
    if (message.kind === 'snapshot') this.#listed.clear();
    else for (const proxy of message.removed) this.#listed.delete(proxy);
    for (const record of recordsOf(message)) this.#listed.set(record.id, record);
    return 'advanced';
  }

  shookHands(): void {}

  verdict(proxy: ProxyId): Verdict {
    return verdictOf(this.#listed.get(proxy));
  }

  records(): readonly ProxyId[] {
    return [...this.#listed.keys()].sort();
  }

  nextExpiry(): Instant | undefined {
    return undefined;
  }

  /** Before the first message any proxy will do. */
  lists(proxy: ProxyId): boolean {
    return this.#listed.size === 0 || this.#listed.has(proxy);
  }
}

/** Whatever was mentioned within `expiryMs` exists. */
export class MentionedKnowledge implements Knowledge {
  readonly #expiryMs: number;
  readonly #mentioned = new Map<ProxyId, { record: Pick<ProxyRecord, 'incarnation' | 'generation'>; at: Instant }>();
  readonly stamp: Stamp | undefined = undefined;
  readonly evidence: Evidence | undefined = undefined;

  constructor(expiryMs: number) {
    this.#expiryMs = expiryMs;
  }

  receive(message: GossipMessage, now: Instant): MergeOutcome | 'invalid' {
    if (checkMessage(message) !== undefined) return 'invalid';
    for (const record of recordsOf(message)) this.#mention(record.id, record.incarnation, record.generation, now);
    return 'advanced';
  }

  shookHands(proxy: ProxyId, incarnation: Incarnation, now: Instant): void {
    this.#mention(proxy, incarnation, 0, now);
  }

  #mention(proxy: ProxyId, heard: Incarnation, generation: number, now: Instant): void {
    const known = this.#mentioned.get(proxy)?.record.incarnation ?? NO_INCARNATION;
    this.#mentioned.set(proxy, { record: { incarnation: heard > known ? heard : known, generation }, at: now });
  }

  verdict(proxy: ProxyId, now: Instant): Verdict {
    const mentioned = this.#mentioned.get(proxy);
    if (mentioned === undefined || now - mentioned.at <= this.#expiryMs) return verdictOf(mentioned?.record);
    this.#mentioned.delete(proxy);
    return verdictOf(undefined);
  }

  records(now: Instant): readonly ProxyId[] {
    return [...this.#mentioned].flatMap(([proxy, { at }]) => (now - at <= this.#expiryMs ? [proxy] : [])).sort();
  }

  nextExpiry(now: Instant): Instant | undefined {
    let next = Infinity;
    for (const { at } of this.#mentioned.values())
      if (at + this.#expiryMs >= now) next = Math.min(next, at + this.#expiryMs + 1);
    return Number.isFinite(next) ? next : undefined;
  }
}

/** The article's naive agent: it keeps only tunnels to proxies that the latest message lists. */
class NaiveAgent implements DiscoveryAgent {
  readonly #knowledge = new LatestKnowledge();
  readonly #core: LeafDiscovery;
  readonly #dropped = new Set<TunnelId>();
  readonly #effects = new Queue<LeafEffect>();

  constructor(config: LeafConfig, random: Random, now: Instant) {
    this.#core = new LeafDiscovery({ ...config, steering: 'off' }, random, now, this.#knowledge);
  }

  handle(event: LeafEvent, now: Instant): void {
    if ('tunnel' in event && this.#dropped.has(event.tunnel)) {
      if (event.type === 'tunnelClosed') this.#dropped.delete(event.tunnel);
      return;
    }
    if (event.type !== 'tunnelEstablished' || this.#knowledge.lists(event.proxy)) return this.#core.handle(event, now);
    assert(!this.#dropped.has(event.tunnel), `tunnel ${event.tunnel} exists already`);
    this.#dropped.add(event.tunnel);
    this.#effects.push({ type: 'closeTunnel', tunnel: event.tunnel, reason: 'duplicate', deadline: undefined });
    this.#core.handle({ type: 'dialFailed', dial: event.dial, reason: 'already-claimed', retryAfterMs: 0 }, now);
  }

  pollEffect(): LeafEffect | undefined {
    return this.#effects.shift() ?? this.#core.pollEffect();
  }

  nextTimeout(): Instant | undefined {
    return this.#core.nextTimeout();
  }

  status(): LeafStatus {
    return this.#core.status();
  }
}
