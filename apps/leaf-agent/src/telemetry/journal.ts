/**
 * What an agent's discovery does, as log lines and metrics. Observers may rely on these lines: `event` and the fields
 * named here are stable. `proxy` is always the id of a root proxy, times are milliseconds.
 *
 *   event                          level  fields
 *   discovery.dial_started         info   dial, target? (absent: unsteered), replaces?
 *   discovery.dial_succeeded       info   dial, tunnel, proxy, target?, incarnation, via?, tookMs
 *   discovery.dial_failed          info   dial, target?, reason, detail, retryAfterMs, tookMs
 *   discovery.proxy_found          info   proxy
 *   discovery.proxy_state_changed  info   proxy, from, to, why
 *   discovery.proxy_gone           info   proxy (its record is forgotten)
 *   discovery.mesh_completed       info   claimed, standbys, dials, tookMs (nothing is wanted any more)
 *   tunnel.closed                  info   tunnel, proxy, graceful, reason
 *   claim.granted                  info   tunnel, proxy, slot (provisional until claim.recorded)
 *   claim.recorded                 info   tunnel, proxy, token, incarnation
 *   claim.held                     info   tunnel, proxy, holder (another agent of the leaf cluster)
 *   claim.lost                     info   tunnel, proxy, reason (a tunnel with a claim closed)
 *   standby.kept                   info   tunnel, proxy
 *   standby.promoted               info   tunnel, proxy, slot (a standby got the claim)
 *   gossip.received                info   proxy (the sender), kind, stamp, changed (debug when nothing changed)
 *   gossip.rejected                warn   proxy (the sender), detail
 *   proxy.revoked                  warn   tunnel, proxy, detail (the tunnel is closed next)
 *   drain.started                  info   by ("proxy" or "agent"), proxy?, deadlineMs
 *   drain.finished                 info   (the agent has left every proxy)
 *   peer.silent                    warn   tunnel, proxy, silentMs
 */
import type { LeafEffect, LeafEvent, LeafStatus, PoolEntryStatus, ProxyId, TunnelId } from '@xylem/discovery';
import type { AuditLog } from '@xylem/audit';
import { EVENT, METRIC } from '@xylem/telemetry';
import type { LogFields, Telemetry } from '@xylem/telemetry';
import { traceFields } from './trace-fields.ts';
import { showStamp } from '../tunnel/gossip.ts';

type EventOf<Type extends LeafEvent['type']> = Extract<LeafEvent, { type: Type }>;

/** A dial that has ended. */
export interface DialFacts {
  readonly target: ProxyId | undefined;
  readonly tookMs: number;
  readonly traceparent: string;
}

interface KnownTunnel {
  readonly proxy: ProxyId;
  readonly via: ProxyId | undefined;
  claimed: boolean;
  standby: boolean;
}

/** Writes what discovery was told and did, and what changed by it. */
export class Journal {
  readonly #telemetry: Telemetry;
  readonly #audit: Pick<AuditLog, 'record'>;
  readonly #tunnels = new Map<TunnelId, KnownTunnel>();
  #status: LeafStatus;
  #wantingSince: number | undefined;
  #gossipAt: number | undefined;
  #fullMeshSeconds = 0;

  constructor(telemetry: Telemetry, audit: Pick<AuditLog, 'record'>, status: LeafStatus) {
    this.#telemetry = telemetry;
    this.#audit = audit;
    this.#status = status;
    this.#wantingSince = performance.now();
    const { metrics } = telemetry;
    metrics.observe(METRIC.wanted, () => this.#status.wanted);
    metrics.observe(METRIC.claimedProxies, () => this.#status.claimed);
    metrics.observe(METRIC.wastedDials, () => this.#status.wastedDialsTotal);
    metrics.observe(METRIC.fullMeshSeconds, () => this.#fullMeshSeconds);
    metrics.observe(METRIC.gossipAgeSeconds, () =>
      this.#gossipAt === undefined ? 0 : (performance.now() - this.#gossipAt) / 1_000,
    );
    metrics.observe(METRIC.poolEntries, () => countBy(this.#status.entries.map(({ state }) => state)));
    metrics.observe(METRIC.tunnels, () => countBy([...this.#tunnels.values()].map(stateOf)));
    metrics.observe(
      METRIC.relayedTunnels,
      () => [...this.#tunnels.values()].filter(({ via }) => via !== undefined).length,
    );
  }

  /** What discovery asked for. */
  effect(effect: LeafEffect): void {
    const { log } = this.#telemetry;
    if (effect.type === 'dial')
      log.info(EVENT.dialStarted, { dial: effect.dial, target: effect.target, replaces: effect.replaces });
    if (effect.type === 'requestStandby') this.#standby(effect.tunnel);
  }

  dialFailed({ dial, reason, retryAfterMs }: EventOf<'dialFailed'>, facts: DialFacts, detail: string): void {
    this.#telemetry.metrics.counter(METRIC.discoveryDials, { result: reason }).add();
    this.#telemetry.log.info(EVENT.dialFailed, { dial, ...shown(facts), reason, detail, retryAfterMs });
  }

  established({ dial, tunnel, proxy, incarnation, via }: EventOf<'tunnelEstablished'>, facts: DialFacts): void {
    this.#tunnels.set(tunnel, { proxy, via, claimed: false, standby: false });
    this.#telemetry.metrics.counter(METRIC.discoveryDials, { result: 'attached' }).add();
    this.#telemetry.metrics.counter(METRIC.balancerHits, { proxy: via ?? proxy }).add();
    this.#telemetry.metrics.counter(METRIC.tunnelsOpened).add();
    this.#telemetry.log.info(EVENT.dialSucceeded, { dial, tunnel, proxy, incarnation, via, ...shown(facts) });
  }

  /** What else discovery was told. */
  event(event: LeafEvent): void {
    switch (event.type) {
      case 'claimGranted':
        return this.#granted(event);
      case 'claimRecorded':
        return this.#telemetry.log.info(EVENT.claimRecorded, {
          ...this.#named(event.tunnel),
          token: event.token,
          incarnation: event.incarnation,
        });
      case 'claimHeld':
        return this.#telemetry.log.info(EVENT.claimHeld, { ...this.#named(event.tunnel), holder: event.holder });
      case 'drainAnnounced':
        return this.#telemetry.log.info(EVENT.drainStarted, {
          by: 'proxy',
          ...this.#named(event.tunnel),
          deadlineMs: event.deadlineMs,
        });
      case 'leaveRequested':
        return this.#telemetry.log.info(EVENT.drainStarted, { by: 'agent', deadlineMs: event.deadlineMs });
      case 'tunnelClosed':
        return this.#closed(event);
      default:
        return;
    }
  }

  /** Gossip, once its effect on the stamp is known. */
  gossip(event: EventOf<'gossipReceived'>, status: LeafStatus): void {
    this.#gossipAt = performance.now();
    const { kind } = event.message;
    this.#telemetry.metrics.counter(METRIC.gossipMessages, { kind }).add();
    const stamp = showStamp(status.stamp);
    const changed = stamp !== showStamp(this.#status.stamp);
    const fields = { proxy: this.#tunnels.get(event.tunnel)?.proxy, kind, stamp, changed };
    if (changed) this.#telemetry.log.info(EVENT.gossipReceived, fields);
    else this.#telemetry.log.debug(EVENT.gossipReceived, fields);
  }

  /** Gossip that is not believed. */
  gossipRefused(tunnel: TunnelId, detail: string): void {
    const { proxy } = this.#named(tunnel);
    this.#telemetry.metrics.counter(METRIC.gossipRefused, { cause: 'refused' }).add();
    this.#telemetry.log.warn(EVENT.gossipRejected, { proxy, detail });
    this.#audit.record({
      kind: 'gossip.refused',
      actor: `proxy/${proxy ?? ''}`,
      subject: 'membership',
      outcome: 'denied',
      details: { detail },
    });
  }

  /** A tunnel is given up because its root proxy was revoked. @param actor This agent, as in certificates. */
  revoked(tunnel: TunnelId, actor: string, detail: string): void {
    const { proxy } = this.#named(tunnel);
    this.#telemetry.log.warn(EVENT.proxyRevoked, { tunnel, proxy, detail });
    this.#audit.record({
      kind: 'identity.cut',
      actor,
      subject: `proxy/${proxy ?? ''}`,
      outcome: 'done',
      details: { tunnel },
    });
  }

  /** What changed in the pool since the last call. */
  changed(status: LeafStatus): void {
    const before = new Map(this.#status.entries.map((entry) => [entry.proxy, entry]));
    for (const entry of status.entries) {
      this.#entryChanged(before.get(entry.proxy), entry);
      before.delete(entry.proxy);
    }
    for (const { proxy } of before.values()) this.#telemetry.log.info(EVENT.proxyGone, { proxy });
    if (status.problem !== undefined && status.problem !== this.#status.problem) {
      this.#telemetry.log.error(EVENT.dialFailed, { reason: 'duplicate-id', detail: status.problem });
    }
    this.#status = status;
    this.#mesh(status);
  }

  #entryChanged(before: PoolEntryStatus | undefined, { proxy, state, why }: PoolEntryStatus): void {
    const { log } = this.#telemetry;
    if (before === undefined) log.info(EVENT.proxyFound, { proxy });
    if (before?.state !== state)
      log.info(EVENT.proxyStateChanged, { proxy, from: before?.state ?? 'unknown', to: state, why });
  }

  #mesh(status: LeafStatus): void {
    const missing = status.entries.some(({ state }) => state === 'seeking' || state === 'backoff');
    const complete = !missing && status.entries.length > 0;
    if (!complete) {
      this.#wantingSince ??= performance.now();
      return;
    }
    if (this.#wantingSince === undefined) return;
    const tookMs = Math.round(performance.now() - this.#wantingSince);
    this.#wantingSince = undefined;
    this.#fullMeshSeconds = tookMs / 1_000;
    const standbys = status.entries.filter(({ state }) => state === 'standby').length;
    this.#telemetry.log.info(EVENT.meshCompleted, {
      claimed: status.claimed,
      standbys,
      dials: status.dialsTotal,
      tookMs,
    });
  }

  #granted({ tunnel, slot }: EventOf<'claimGranted'>): void {
    const known = this.#tunnels.get(tunnel);
    if (known?.standby === true) this.#telemetry.log.info(EVENT.standbyPromoted, { ...this.#named(tunnel), slot });
    else this.#telemetry.log.info(EVENT.claimGranted, { ...this.#named(tunnel), slot });
    if (known === undefined) return;
    known.claimed = true;
    known.standby = false;
  }

  #standby(tunnel: TunnelId): void {
    const known = this.#tunnels.get(tunnel);
    if (known !== undefined) known.standby = true;
    this.#telemetry.log.info(EVENT.standbyKept, this.#named(tunnel));
  }

  #closed({ tunnel, graceful, reason }: EventOf<'tunnelClosed'>): void {
    const named = this.#named(tunnel);
    this.#telemetry.metrics.counter(METRIC.tunnelsClosed, { reason: graceful ? 'goodbye' : 'lost' }).add();
    this.#telemetry.log.info(EVENT.tunnelClosed, { ...named, graceful, reason });
    if (this.#tunnels.get(tunnel)?.claimed === true) this.#telemetry.log.info(EVENT.claimLost, { ...named, reason });
    this.#tunnels.delete(tunnel);
  }

  #named(tunnel: TunnelId): { readonly tunnel: TunnelId; readonly proxy: ProxyId | undefined } {
    return { tunnel, proxy: this.#tunnels.get(tunnel)?.proxy };
  }
}

function shown({ target, tookMs, traceparent }: DialFacts): LogFields {
  return { target, tookMs, ...traceFields(traceparent) };
}

function stateOf({ claimed, standby }: KnownTunnel): string {
  return claimed ? 'claimed' : standby ? 'standby' : 'undecided';
}

function countBy(states: readonly string[]): { readonly labels: { readonly state: string }; readonly value: number }[] {
  const counts = new Map<string, number>();
  for (const state of states) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].map(([state, value]) => ({ labels: { state }, value }));
}
