import { LeafDiscovery, StampedKnowledge } from '@xylem/discovery';
import type {
  DialId,
  LeafConfig,
  LeafEffect,
  LeafEvent,
  LeafStatus,
  ProxyId,
  Random,
  TunnelId,
} from '@xylem/discovery';
import type { AuditLog } from '@xylem/audit';
import type { LifetimeOptions, TlsSource } from '@xylem/grpc';
import { ATTRIBUTE, EVENT, METRIC, SPAN } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import type { tunnel as wire } from '@xylem/wire';
import { DeadlineTimer } from '../deadline-timer.ts';
import { isAgentId, isFencingToken, isIncarnation, isTunnelId } from '../ids.ts';
import { Journal } from '../telemetry/journal.ts';
import type { DialFacts } from '../telemetry/journal.ts';
import { AgentTunnel } from '../tunnel/agent-tunnel.ts';
import type { DiscoveryMessage, TunnelEnd } from '../tunnel/agent-tunnel.ts';
import { attach } from '../tunnel/attach.ts';
import type { AttachResult } from '../tunnel/attach.ts';
import type { CarryingPorts } from '../tunnel/connections.ts';
import type { GossipAdmission } from '../trust/gossip-admission.ts';
import type { RevokedProxies } from '../trust/revoked-proxies.ts';
import { Suspicion } from '../trust/suspicion.ts';
import { PROTOCOL_VERSIONS, SOFTWARE_VERSION } from '../version.ts';
import { PoolReporter, poolReport } from './pool-report.ts';

export interface AgentPorts {
  readonly root: string;
  readonly domain: string;
  readonly tls: TlsSource;
  readonly lifetime: LifetimeOptions;
  readonly telemetry: Telemetry;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly random: Random;
  /** A root proxy says that what is trusted has changed. */
  readonly trustChanged: (generation: number) => void;
  readonly carrying: CarryingPorts;
  readonly gossip: GossipAdmission;
  readonly revoked: RevokedProxies;
  /** Nonce of this process. */
  readonly instance: string;
}

type DialEffect = Extract<LeafEffect, { type: 'dial' }>;

/** A tunnel says GOODBYE after its drain deadline; leaving waits this much longer for it. */
const LEAVE_MARGIN_MS = 2_000;

/** The shell of LeafDiscovery: performs its effects, tells it what became of them, and nothing else. */
export class DiscoveryAgent {
  readonly #ports: AgentPorts;
  readonly #config: LeafConfig;
  readonly #discovery: LeafDiscovery;
  readonly #journal: Journal;
  readonly #reporter: PoolReporter;
  readonly #timer = new DeadlineTimer(() => this.#handle({ type: 'timeout' }));
  readonly #dials = new Map<DialId, AbortController>();
  readonly #tunnels = new Map<TunnelId, AgentTunnel>();
  readonly #suspicions = new Map<TunnelId, Suspicion>();
  #serial = 0;
  #left: (() => void) | undefined;

  constructor(config: LeafConfig, ports: AgentPorts) {
    this.#config = config;
    this.#ports = ports;
    const knowledge = new StampedKnowledge(config.expiryMs, ports.gossip.admit);
    this.#discovery = new LeafDiscovery(config, ports.random, performance.now(), knowledge);
    this.#journal = new Journal(ports.telemetry, ports.audit, this.#discovery.status());
    this.#reporter = new PoolReporter(
      () => poolReport(this.#discovery.status()),
      (report) => {
        for (const tunnel of this.#tunnels.values()) tunnel.report(report);
      },
    );
  }

  start(): void {
    this.#perform();
  }

  status(): LeafStatus {
    return this.#discovery.status();
  }

  /** Leaves every proxy in order; resolves when all are left, a little after the deadline at the latest. */
  async leave(deadlineMs: number): Promise<void> {
    const span = this.#ports.telemetry.tracing.startSpan(SPAN.drain, {
      attributes: { [ATTRIBUTE.agent]: this.#config.agent, [ATTRIBUTE.leaf]: this.#config.leaf },
    });
    const left = Promise.withResolvers<void>();
    this.#left = left.resolve;
    this.#handle({ type: 'leaveRequested', deadlineMs });
    const timer = setTimeout(left.resolve, deadlineMs + LEAVE_MARGIN_MS);
    this.#settleLeaving();
    await left.promise;
    clearTimeout(timer);
    this.#timer.set(undefined);
    this.#reporter.stop();
    span.end();
    this.#ports.telemetry.log.info(EVENT.drainFinished);
  }

  #handle(event: LeafEvent): void {
    this.#discovery.handle(event, performance.now());
    this.#perform();
  }

  #perform(): void {
    for (let effect = this.#discovery.pollEffect(); effect !== undefined; effect = this.#discovery.pollEffect()) {
      this.#journal.effect(effect);
      this.#performOne(effect);
    }
    const status = this.#discovery.status();
    if (status.stamp !== undefined) this.#ports.carrying.fence.believes(status.stamp.epoch);
    this.#ports.carrying.fence.keepOnly(new Set(status.entries.map(({ proxy }) => proxy)));
    this.#journal.changed(status);
    this.#timer.set(this.#discovery.nextTimeout());
    this.#reporter.touch();
  }

  #performOne(effect: LeafEffect): void {
    switch (effect.type) {
      case 'dial':
        return void this.#dial(effect);
      case 'cancelDial':
        return this.#dials.get(effect.dial)?.abort();
      case 'requestStandby':
        return this.#tunnels.get(effect.tunnel)?.requestStandby();
      case 'requestSnapshot':
        return this.#tunnels.get(effect.tunnel)?.requestSnapshot(effect.have);
      case 'showEvidence':
        return this.#tunnels.get(effect.tunnel)?.showEvidence(effect.evidence);
      case 'closeTunnel':
        return this.#tunnels.get(effect.tunnel)?.close(effect.reason, effect.deadline);
    }
  }

  async #dial(effect: DialEffect): Promise<void> {
    const { dial, target, replaces, deadline } = effect;
    const started = performance.now();
    this.#serial += 1;
    const id = `t${this.#serial}`;
    const giveUp = new AbortController();
    this.#dials.set(dial, giveUp);
    const span = this.#ports.telemetry.tracing.startSpan(SPAN.discoveryDial, {
      kind: 'client',
      attributes: {
        [ATTRIBUTE.tunnel]: id,
        [ATTRIBUTE.steered]: target !== undefined,
        ...(target === undefined ? {} : { [ATTRIBUTE.proxy]: target }),
      },
    });
    const result = await attach({
      root: this.#ports.root,
      domain: this.#ports.domain,
      tls: this.#ports.tls,
      lifetime: this.#ports.lifetime,
      hello: this.#hello(id, target, replaces, span.traceparent),
      refusal: (peer) => this.#ports.revoked.refusal(peer),
      timeoutMs: Math.max(1, deadline - started),
      signal: giveUp.signal,
    });
    this.#dials.delete(dial);
    if (result.kind === 'failed') span.fail(result.detail);
    else span.setAttribute(ATTRIBUTE.proxy, result.attached.proxy);
    span.end();
    this.#dialEnded(effect.dial, id, result, {
      target,
      tookMs: Math.round(performance.now() - started),
      traceparent: span.traceparent,
    });
    this.#settleLeaving();
  }

  #dialEnded(dial: DialId, id: string, result: AttachResult, facts: DialFacts): void {
    if (result.kind === 'failed') {
      const event: LeafEvent = { type: 'dialFailed', dial, reason: result.reason, retryAfterMs: result.retryAfterMs };
      this.#journal.dialFailed(event, facts, result.detail);
      return this.#handle(event);
    }
    const { attached } = result;
    const { proxy, incarnation, via } = attached;
    if (!isTunnelId(id)) throw new Error(`assertion failed: ${id} names no tunnel`);
    const doubt = new Suspicion();
    const tunnel: AgentTunnel = new AgentTunnel(id, attached, this.#ports.carrying, this.#ports.random, {
      message: (message) => this.#message(tunnel, message),
      silent: (silentMs) => this.#silent(tunnel, silentMs),
      pinged: (roundTripMs) => this.#ports.telemetry.metrics.histogram(METRIC.pingSeconds).record(roundTripMs / 1_000),
      renewalDue: (generation) => this.#ports.trustChanged(generation),
      revokedProxies: (statement) => this.#revoked(tunnel, doubt, statement),
      rejected: (detail) => this.#ports.telemetry.log.warn(EVENT.requestRejected, { proxy, detail }),
      ended: (end) => this.#ended(tunnel, end),
    });
    this.#tunnels.set(id, tunnel);
    this.#suspicions.set(id, new Suspicion());
    const event: LeafEvent = { type: 'tunnelEstablished', dial, tunnel: id, proxy, incarnation, via };
    this.#journal.established(event, facts);
    tunnel.start();
    tunnel.report(poolReport(this.#discovery.status()));
    this.#handle(event);
    // It may have been revoked since the handshake.
    this.#dropIfRevoked(tunnel);
  }

  #hello(tunnelId: string, target: ProxyId | undefined, replaces: TunnelId | undefined, traceparent: string) {
    return {
      minVersion: PROTOCOL_VERSIONS.min,
      maxVersion: PROTOCOL_VERSIONS.max,
      leaf: this.#config.leaf,
      agent: this.#config.agent,
      instanceNonce: this.#ports.instance,
      tunnelId,
      replacesTunnelId: replaces ?? '',
      wantedProxy: target ?? '',
      nodes: this.#ports.carrying.nodes.offered(),
      software: SOFTWARE_VERSION,
      traceparent,
    };
  }

  #message(tunnel: AgentTunnel, message: DiscoveryMessage): void | Promise<void> {
    if (message.$case === 'discoveryRequest') return this.#gossip(tunnel, message.value);
    const event = this.#eventOf(tunnel, message);
    if (typeof event === 'string') {
      this.#ports.telemetry.log.warn(EVENT.requestRejected, { proxy: tunnel.attached.proxy, detail: event });
      return;
    }
    this.#journal.event(event);
    this.#handle(event);
  }

  async #gossip(tunnel: AgentTunnel, request: wire.DiscoveryRequest): Promise<void> {
    const { gossip, telemetry } = this.#ports;
    const { id } = tunnel;
    const suspicion = this.#suspicions.get(id);
    if (suspicion === undefined || suspicion.ignores(performance.now())) {
      return telemetry.metrics.counter(METRIC.gossipRefused, { cause: 'ignored' }).add();
    }
    const reading = await gossip.read(request);
    // The tunnel may have ended meanwhile.
    if (!this.#tunnels.has(id)) return;
    if (reading.kind === 'malformed') return this.#refuseGossip(tunnel, suspicion, reading.detail);
    const event: LeafEvent = { type: 'gossipReceived', tunnel: id, message: reading.message };
    this.#discovery.handle(event, performance.now());
    const refusal = gossip.takeRefusal();
    if (refusal === undefined) {
      suspicion.believed();
      this.#journal.gossip(event, this.#discovery.status());
    } else {
      this.#refuseGossip(tunnel, suspicion, refusal);
    }
    this.#perform();
  }

  /** The root proxy lies, or what it has is too old: it is not listened to for a while. */
  #refuseGossip(tunnel: AgentTunnel, suspicion: Suspicion, detail: string): void {
    suspicion.refused(performance.now());
    this.#journal.gossipRefused(tunnel.id, detail);
  }

  /** Any root proxy may pass this on, and none needs to be believed. @param doubt Bounds what one that lies costs. */
  async #revoked(tunnel: AgentTunnel, doubt: Suspicion, statement: string): Promise<void> {
    if (doubt.ignores(performance.now())) return;
    const news = await this.#ports.revoked.told(statement);
    if (news.kind === 'refused') {
      doubt.refused(performance.now());
      this.#ports.telemetry.log.warn(EVENT.requestRejected, { proxy: tunnel.attached.proxy, detail: news.detail });
      return;
    }
    doubt.believed();
    if (news.proxies.length > 0) for (const open of [...this.#tunnels.values()]) this.#dropIfRevoked(open);
  }

  #dropIfRevoked(tunnel: AgentTunnel): void {
    const detail = this.#ports.revoked.refusal(tunnel.attached.channel.peer);
    if (detail === undefined) return;
    const { leaf, agent } = this.#config;
    this.#journal.revoked(tunnel.id, `leaf/${leaf}/agent/${agent}`, detail);
    tunnel.disown('revoked', detail);
  }

  /** The event that a message stands for, or what is wrong with the message. */
  #eventOf(tunnel: AgentTunnel, message: Exclude<DiscoveryMessage, { $case: 'discoveryRequest' }>): LeafEvent | string {
    const { id } = tunnel;
    switch (message.$case) {
      case 'claimGranted':
        return { type: 'claimGranted', tunnel: id, slot: message.value.slot };
      case 'claimRecorded': {
        const { token, incarnation } = message.value;
        if (!isFencingToken(token) || !isIncarnation(incarnation)) return 'a claim record without a valid token';
        this.#ports.carrying.fence.raise(tunnel.attached.proxy, { incarnation, token });
        return { type: 'claimRecorded', tunnel: id, token, incarnation };
      }
      case 'claimHeld':
        return isAgentId(message.value.holder)
          ? { type: 'claimHeld', tunnel: id, holder: message.value.holder }
          : 'a held claim without a valid holder';
      case 'drain':
        return {
          type: 'drainAnnounced',
          tunnel: id,
          spreadMs: message.value.spreadMs,
          deadlineMs: message.value.deadlineMs,
        };
    }
  }

  #silent(tunnel: AgentTunnel, silentMs: number): void {
    this.#ports.telemetry.metrics.counter(METRIC.livenessLosses).add();
    this.#ports.telemetry.log.warn(EVENT.peerSilent, {
      tunnel: tunnel.id,
      proxy: tunnel.attached.proxy,
      silentMs: Math.round(silentMs),
    });
  }

  #ended(tunnel: AgentTunnel, { graceful, reason }: TunnelEnd): void {
    this.#tunnels.delete(tunnel.id);
    this.#suspicions.delete(tunnel.id);
    const event: LeafEvent = { type: 'tunnelClosed', tunnel: tunnel.id, graceful, reason };
    this.#journal.event(event);
    this.#handle(event);
    this.#settleLeaving();
  }

  #settleLeaving(): void {
    if (this.#left !== undefined && this.#tunnels.size === 0 && this.#dials.size === 0) this.#left();
  }
}
