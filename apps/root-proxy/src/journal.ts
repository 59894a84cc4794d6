import type { AuditLog } from '@xylem/audit';
import type { ServerFault } from '@xylem/grpc';
import { ATTRIBUTE, EVENT, METRIC, SPAN } from '@xylem/telemetry';
import type { Counter, Metrics, SpanHandle, Telemetry, Tracing } from '@xylem/telemetry';
import type { ConnectionEnd, DialOutcome, DialWay } from '@xylem/tunnel';
import { now } from './clock.ts';
import type { ConnectionSummary, DialObserver, DialOrder } from './dials/types.ts';
import { GrantTraces } from './grant-traces.ts';
import type { FrontDoorRefusal, FrontDoorRequest } from './front-door/server.ts';
import type { Denied } from './handlers/authority.ts';
import { proofName } from './security/proof.ts';
import type { ClaimAnswer } from './registry/messages.ts';
import type { EnrolmentEnd } from './relay/enrolments.ts';
import type { TunnelPortRefusal } from './relay/listener.ts';
import type { ClaimOrder, PlaneObserver } from './tunnels/plane.ts';
import type { Tunnel, TunnelEnd } from './tunnels/tunnel.ts';

/** In audit lines of an agent that named what is another's: somebody else in its hello, another tunnel's connection in Carry. */
const CROSS_TENANT = 'cross_tenant';

/**
 * Every log line, metric and span of the root proxy that reports what happened: who calls here says what, this file says
 * how it is shown. Fields of log lines are stable: leaf, agent, tunnel, source, via, slot, token, connection, target, user,
 * outcome, cause, detail, proxy, registry, incarnation, trace_id; counts and times end in their unit.
 *
 * Label values come from closed sets only: outcomes, causes, states. Names of leaves, nodes and users are never labels.
 */
export class Journal implements PlaneObserver, DialObserver {
  readonly #telemetry: Telemetry;
  readonly #audit: AuditLog;
  readonly #metrics: Metrics;
  readonly #tracing: Tracing;
  readonly #up: Counter;
  readonly #down: Counter;
  /** By tunnel: hello to the answer to its claim. */
  readonly #attachSpans = new Map<string, SpanHandle>();
  readonly #grantTraces = new GrantTraces();
  /** By request. */
  readonly #orders = new Map<
    number,
    {
      readonly span: SpanHandle;
      readonly order: ClaimOrder;
      readonly startedAt: number;
      readonly traceparent: string | undefined;
    }
  >();

  constructor(telemetry: Telemetry, audit: AuditLog) {
    this.#telemetry = telemetry;
    this.#audit = audit;
    this.#metrics = telemetry.metrics;
    this.#tracing = telemetry.tracing;
    this.#up = this.#metrics.counter(METRIC.carriedBytes, { direction: 'up' });
    this.#down = this.#metrics.counter(METRIC.carriedBytes, { direction: 'down' });
  }

  // ---- tunnels and claims ------------------------------------------------------------------------------------------

  tunnelRefused(source: string, identity: string, cause: string, detail: string): void {
    this.#telemetry.log.warn(EVENT.tunnelRefused, { source, agent: identity, cause, detail });
    this.#metrics.counter(METRIC.claimDecisions, { result: `refused-${cause}` }).add();
    if (cause !== 'denied') return;
    const [leaf = '', agent = ''] = identity.split('/');
    const details = { source, detail, rule: CROSS_TENANT };
    const actor = `leaf/${leaf}/agent/${agent}`;
    this.#audit.record({ kind: 'request.denied', actor, subject: 'attach', outcome: 'denied', details });
  }

  answerDenied(tunnel: string, connection: string, detail: string): void {
    // As checkHello makes the names of tunnels.
    const [leaf = '', agent = ''] = tunnel.split('/');
    this.#telemetry.log.warn(EVENT.requestRejected, { leaf, agent, tunnel, connection, detail });
    const details = { connection, detail, rule: CROSS_TENANT };
    const actor = `leaf/${leaf}/agent/${agent}`;
    this.#audit.record({ kind: 'request.denied', actor, subject: 'carry', outcome: 'denied', details });
  }

  requestDenied({ actor, subject, source, detail }: Denied): void {
    this.#telemetry.log.warn(EVENT.requestRejected, { source, actor, method: subject, detail });
    this.#audit.record({ kind: 'request.denied', actor, subject, outcome: 'denied', details: { source, detail } });
  }

  tunnelAttached(tunnel: Tunnel): void {
    const { leaf, agent, traceparent, software } = tunnel.hello;
    const { source, via } = tunnel.connection;
    const attributes = {
      [ATTRIBUTE.leaf]: leaf,
      [ATTRIBUTE.agent]: agent,
      [ATTRIBUTE.tunnel]: tunnel.id,
      [ATTRIBUTE.via]: via ?? '',
    };
    this.#attachSpans.set(tunnel.id, this.#tracing.startSpan(SPAN.attach, { kind: 'server', traceparent, attributes }));
    this.#telemetry.log.info(EVENT.tunnelAttached, { ...nameOf(tunnel), source, via, software });
    this.#metrics.counter(METRIC.tunnelsOpened).add();
  }

  granted(tunnel: Tunnel, slot: number): void {
    this.#telemetry.log.info(EVENT.claimGranted, { ...nameOf(tunnel), slot });
    this.#metrics.counter(METRIC.claimDecisions, { result: 'granted' }).add();
    const span = this.#attachSpans.get(tunnel.id);
    span?.setAttribute(ATTRIBUTE.slot, slot);
    this.#grantTraces.set(tunnel.hello.leaf, slot, span?.traceparent ?? tunnel.hello.traceparent);
    this.#endAttach(tunnel, 'granted');
  }

  held(tunnel: Tunnel, holder: string): void {
    this.#telemetry.log.info(EVENT.claimHeld, { ...nameOf(tunnel), holder });
    this.#metrics.counter(METRIC.claimDecisions, { result: 'held' }).add();
    this.#endAttach(tunnel, 'held');
  }

  recorded(tunnel: Tunnel, slot: number, token: bigint): void {
    this.#telemetry.log.info(EVENT.claimRecorded, { ...nameOf(tunnel), slot, token: Number(token) });
    const { leaf, agent } = tunnel.hello;
    const actor = `leaf/${leaf}/agent/${agent}`;
    const details = { token: String(token) };
    this.#audit.record({ kind: 'claim.granted', actor, subject: `${leaf}/${slot}`, outcome: 'done', details });
  }

  gossipSent(tunnel: Tunnel, kind: 'snapshot' | 'delta'): void {
    this.#telemetry.log.debug(EVENT.gossipSent, { ...nameOf(tunnel), kind });
    this.#metrics.counter(METRIC.gossipMessages, { kind }).add();
  }

  pinged(roundTripMs: number): void {
    this.#metrics.histogram(METRIC.pingSeconds).record(roundTripMs / 1_000);
  }

  probed(roundTripMs: number): void {
    this.#metrics.histogram(METRIC.probeSeconds).record(roundTripMs / 1_000);
  }

  unserved(tunnel: Tunnel, detail: string): void {
    this.#telemetry.log.warn(EVENT.claimUnserved, { ...nameOf(tunnel), detail });
    this.#metrics.counter(METRIC.claimsUnserved).add();
    const { leaf, agent } = tunnel.hello;
    const actor = `leaf/${leaf}/agent/${agent}`;
    this.#audit.record({ kind: 'claim.revoked', actor, subject: leaf, outcome: 'done', details: { detail } });
  }

  rejected(tunnel: Tunnel, detail: string): void {
    this.#telemetry.log.warn(EVENT.requestRejected, { ...nameOf(tunnel), detail });
  }

  tunnelClosed(tunnel: Tunnel, end: TunnelEnd): void {
    const log = end.graceful ? 'info' : 'warn';
    this.#telemetry.log[log](EVENT.tunnelClosed, {
      ...nameOf(tunnel),
      ...end,
      ageMs: Math.round(now() - tunnel.openedAt),
    });
    this.#metrics.counter(METRIC.tunnelsClosed, { reason: end.cause }).add();
    if (end.cause === 'silent') this.#metrics.counter(METRIC.livenessLosses).add();
    this.#endAttach(tunnel, end.cause);
  }

  claimOrdered(order: ClaimOrder): void {
    const { leaf, slot, request } = order;
    const name = order.type === 'recordClaim' ? SPAN.claimRecord : SPAN.claimRelease;
    const traceparent = this.#grantTraces.get(leaf, slot);
    const span = this.#tracing.startSpan(name, {
      kind: 'client',
      traceparent,
      attributes: { [ATTRIBUTE.leaf]: leaf, [ATTRIBUTE.slot]: slot },
    });
    this.#orders.set(request, { span, order, startedAt: now(), traceparent });
  }

  claimAnswered(answer: ClaimAnswer): void {
    const ordered = this.#orders.get(answer.request);
    if (ordered === undefined) return;
    this.#orders.delete(answer.request);
    const { span, order, startedAt, traceparent } = ordered;
    const { leaf, slot } = order;
    if (answer.type === 'claimRecorded') {
      span.setAttribute(ATTRIBUTE.fencingToken, Number(answer.token));
      this.#metrics.histogram(METRIC.claimRecordSeconds).record((now() - startedAt) / 1_000);
    } else if (answer.type === 'claimReleased') {
      this.#grantTraces.released(leaf, slot, traceparent);
      this.#telemetry.log.info(EVENT.claimReleased, { leaf, slot });
      this.#audit.record({
        kind: 'claim.released',
        actor: `leaf/${leaf}`,
        subject: `${leaf}/${slot}`,
        outcome: 'done',
      });
    } else {
      span.fail(answer.type);
      const cause = answer.type === 'claimRefused' ? answer.cause : 'unknown-outcome';
      this.#telemetry.log.warn(EVENT.claimLost, { leaf, slot, cause });
    }
    span.end();
  }

  // ---- connections -------------------------------------------------------------------------------------------------

  dialAnswered(
    order: DialOrder,
    connection: string,
    outcome: DialOutcome,
    detail: string,
    way: DialWay,
    durationMs: number,
  ): void {
    this.#metrics.counter(METRIC.dials, { outcome }).add();
    this.#metrics.histogram(METRIC.dialSeconds, { outcome }).record(durationMs / 1_000);
    if (way.kind === 'peer') this.#metrics.counter(METRIC.peerForwards, { outcome }).add();
    const fields = { ...targetOf(order), connection, outcome, way: wayText(way), durationMs: Math.round(durationMs) };
    if (outcome === 'connected') this.#telemetry.log.info(EVENT.connectionOpened, fields);
    else this.#telemetry.log.info(EVENT.connectionRefused, { ...fields, detail });
    const proof = proofName(order.proof);
    this.#auditDial(order, outcome, { connection, outcome, detail, way: wayText(way), source: order.source, proof });
  }

  connectionClosed(order: DialOrder, connection: string, summary: ConnectionSummary): void {
    const { kind, reason, detail, upBytes, downBytes } = summary;
    this.#up.add(upBytes);
    this.#down.add(downBytes);
    this.#metrics.counter(METRIC.connectionEnds, { reason: reason ?? kind }).add();
    this.#telemetry.log.info(EVENT.connectionClosed, {
      ...targetOf(order),
      connection,
      kind,
      reason,
      detail,
      upBytes,
      downBytes,
    });
    this.#audit.record({
      kind: 'dial.closed',
      actor: actorOf(order),
      subject: targetText(order),
      outcome: kind === 'clean' ? 'done' : 'failed',
      details: { connection, reason: reason ?? kind, upBytes, downBytes },
    });
  }

  #auditDial(order: DialOrder, outcome: DialOutcome, details: Readonly<Record<string, string>>): void {
    const denied = outcome === 'denied';
    this.#audit.record({
      kind: denied ? 'dial.denied' : 'dial.allowed',
      actor: actorOf(order),
      subject: targetText(order),
      outcome: denied ? 'denied' : outcome === 'connected' ? 'done' : 'failed',
      details,
    });
  }

  answeredHttp({ source }: FrontDoorRequest, user: string, status: number, reason: string): void {
    this.#metrics.counter(METRIC.frontDoorAnswers, { status: String(status) }).add();
    if (status === 403 || status === 407)
      this.#telemetry.log.warn(EVENT.requestRejected, { source, user, status, detail: reason });
  }

  turnedAway(source: string, cause: FrontDoorRefusal, detail: string): void {
    this.#metrics.counter(METRIC.frontDoorAnswers, { status: cause }).add();
    this.#telemetry.log.debug(EVENT.requestRejected, { source, cause, detail });
  }

  // ---- relays and peers --------------------------------------------------------------------------------------------

  relayStarted(proxy: string, source: string): void {
    this.#metrics.counter(METRIC.relays, { result: 'relayed' }).add();
    this.#telemetry.log.info(EVENT.tunnelRelayed, { source, proxy });
  }

  relayEnded(proxy: string, source: string, end: ConnectionEnd): void {
    const { kind, reason, detail, sentBytes, receivedBytes } = end;
    this.#telemetry.log.debug(EVENT.tunnelRelayed, {
      source,
      proxy,
      ended: kind,
      cause: reason,
      detail,
      sentBytes,
      receivedBytes,
    });
  }

  enrolmentRelayed(source: string, registry: string, end: EnrolmentEnd): void {
    this.#metrics.counter(METRIC.enrolmentsRelayed, { result: end }).add();
    const level = end === 'done' || end === 'left' ? 'info' : 'warn';
    this.#telemetry.log[level](EVENT.enrolmentRelayed, { source, registry, cause: end });
  }

  tunnelPortRefused(source: string, cause: TunnelPortRefusal, detail: string): void {
    if (cause === 'unreachable' || cause === 'relay-limit')
      this.#metrics.counter(METRIC.relays, { result: cause }).add();
    else this.#handshakeRefused('tunnel', cause);
    // Thousands a second when a herd comes: the metric tells of those.
    const log = cause === 'gone' || cause === 'busy' ? 'debug' : 'warn';
    this.#telemetry.log[log](EVENT.handshakeFailed, { source, cause, detail });
  }

  attachTimedOut(source: string): void {
    this.#handshakeRefused('tunnel', 'no-attach');
    const detail = 'the connection did not attach in time';
    this.#telemetry.log.warn(EVENT.handshakeFailed, { source, cause: 'no-attach', detail });
  }

  peerConnected(proxy: string): void {
    this.#telemetry.log.info(EVENT.peerConnected, { proxy });
  }

  peerLost(proxy: string, detail: string): void {
    this.#telemetry.log.warn(EVENT.peerLost, { proxy, detail });
  }

  // ---- registry ----------------------------------------------------------------------------------------------------

  registryConnected(incarnation: bigint, registry: string): void {
    this.#telemetry.log.info(EVENT.registryConnected, { incarnation: Number(incarnation), registry });
  }

  registryLost(): void {
    for (const { span } of this.#orders.values()) {
      span.fail('the session was lost');
      span.end();
    }
    this.#orders.clear();
    this.#telemetry.log.warn(EVENT.registryLost, {
      detail: 'tunnels and connections go on; claims are provisional until it is back',
    });
  }

  sessionFailed(registry: string, detail: string): void {
    this.#telemetry.log.warn(EVENT.sessionClosed, { registry, detail });
  }

  // ---- servers -----------------------------------------------------------------------------------------------------

  fault(plane: 'tunnel' | 'peer' | 'access', { kind, where, cause }: ServerFault): void {
    const detail = cause instanceof Error ? cause.message : String(cause);
    if (kind === 'handler') {
      this.#telemetry.log.error(EVENT.internalError, { plane, where, error: cause });
      return;
    }
    this.#handshakeRefused(plane, kind);
    this.#telemetry.log.warn(EVENT.handshakeFailed, { plane, source: where, cause: kind, detail });
  }

  #handshakeRefused(plane: string, cause: string): void {
    this.#metrics.counter(METRIC.handshakesRefused, { plane, cause }).add();
  }

  #endAttach(tunnel: Tunnel, outcome: string): void {
    const span = this.#attachSpans.get(tunnel.id);
    span?.setAttribute(ATTRIBUTE.outcome, outcome);
    span?.end();
    this.#attachSpans.delete(tunnel.id);
  }
}

function nameOf(tunnel: Tunnel): { readonly leaf: string; readonly agent: string; readonly tunnel: string } {
  return { leaf: tunnel.hello.leaf, agent: tunnel.hello.agent, tunnel: tunnel.id };
}

function targetOf({ leaf, node, port, user, traceparent }: DialOrder): Readonly<Record<string, unknown>> {
  const traceId = /^00-([0-9a-f]{32})-/.exec(traceparent)?.[1];
  return { leaf, node, port, user, ...(traceId === undefined ? {} : { trace_id: traceId }) };
}

function actorOf({ user }: DialOrder): string {
  return user === '' ? 'anonymous' : `user/${user}`;
}

function targetText({ leaf, node, port }: DialOrder): string {
  return `${node}.${leaf}:${port}`;
}

function wayText(way: DialWay): string {
  switch (way.kind) {
    case 'none':
      return '';
    case 'tunnel':
      return way.agent;
    case 'peer':
      return `peer ${way.proxy}`;
  }
}
