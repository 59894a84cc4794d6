import type { AuditLog } from '@xylem/audit';
import { ATTRIBUTE, EVENT, METRIC, SPAN } from '@xylem/telemetry';
import type { SpanHandle, Telemetry } from '@xylem/telemetry';
import type { Carried } from '@xylem/carrier';
import type { ConnectionEnd, DialOutcome } from '@xylem/tunnel';
import type { tunnel } from '@xylem/wire';
import type { DialVerdict } from '../trust/dial-admission.ts';
import { traceFields } from './trace-fields.ts';

/** One dial as telemetry sees it: its span ends with the outcome, its log line and counters follow the connection. */
export interface DialRecord {
  /** What became of the grant; before the outcome, and only when it came to that. */
  judged(verdict: DialVerdict): void;
  /** `cancelled`: nobody waited any more. */
  outcome(outcome: DialOutcome | 'cancelled', detail: string): void;
  opened(carried: Carried): void;
  closed(carried: Carried, end: ConnectionEnd): void;
}

type AuditFacts = Readonly<Record<string, string>>;

/** Spans, metrics and log lines of the dials and connections of this agent. */
export class DialTelemetry {
  readonly #telemetry: Telemetry;
  readonly #audit: AuditLog;
  readonly #open = new Set<Carried>();
  #endedUpBytes = 0;
  #endedDownBytes = 0;

  constructor(telemetry: Telemetry, audit: AuditLog) {
    this.#telemetry = telemetry;
    this.#audit = audit;
    telemetry.metrics.observe(METRIC.openConnections, () => this.#open.size);
    telemetry.metrics.observe(METRIC.carriedBytes, () => this.#bytes());
  }

  start(request: tunnel.DialRequest, proxy: string): DialRecord {
    const started = performance.now();
    const { connection, target, user } = request;
    const node = target?.node ?? '';
    const span: SpanHandle = this.#telemetry.tracing.startSpan(SPAN.nodeConnect, {
      traceparent: request.traceparent,
      kind: 'client',
      attributes: {
        [ATTRIBUTE.connection]: connection,
        [ATTRIBUTE.node]: node,
        [ATTRIBUTE.port]: target?.port ?? 0,
        [ATTRIBUTE.proxy]: proxy,
        [ATTRIBUTE.user]: user,
      },
    });
    const log = this.#telemetry.log.child({
      connection,
      proxy,
      node,
      port: target?.port ?? 0,
      user,
      ...traceFields(span.traceparent),
    });
    let grant = 'none';
    return {
      judged: (verdict) => {
        if (verdict.kind === 'refused') return this.#grantRefused(request, proxy, verdict.cause, verdict.detail);
        grant = `${verdict.offline ? 'standing, ' : ''}registry/${verdict.registry}`;
      },
      outcome: (outcome, detail) => {
        span.setAttribute(ATTRIBUTE.outcome, outcome);
        if (outcome !== 'connected') span.fail(detail);
        span.end();
        this.#telemetry.metrics.counter(METRIC.dials, { outcome }).add();
        this.#telemetry.metrics
          .histogram(METRIC.dialSeconds, { outcome })
          .record((performance.now() - started) / 1_000);
        if (outcome !== 'connected') log.debug(EVENT.connectionRefused, { outcome, detail });
        this.#auditDial(request, proxy, { outcome, detail, grant });
      },
      opened: (carried) => {
        this.#open.add(carried);
        log.debug(EVENT.connectionOpened);
      },
      closed: (carried, end) => {
        this.#open.delete(carried);
        this.#endedUpBytes += end.receivedBytes;
        this.#endedDownBytes += end.sentBytes;
        const reason = end.reason ?? end.kind;
        this.#telemetry.metrics.counter(METRIC.connectionEnds, { reason }).add();
        log.debug(EVENT.connectionClosed, {
          reason,
          detail: end.detail,
          upBytes: end.receivedBytes,
          downBytes: end.sentBytes,
        });
      },
    };
  }

  /** A dial of a connection that is there already: it is not made, and nothing is answered. */
  replayed(request: tunnel.DialRequest, proxy: string): void {
    this.#grantRefused(request, proxy, 'replay', 'the connection is there already');
  }

  #auditDial(request: tunnel.DialRequest, proxy: string, facts: { readonly outcome: string } & AuditFacts): void {
    const { outcome } = facts;
    const denied = outcome === 'denied';
    this.#audit.record({
      kind: denied ? 'dial.denied' : 'dial.allowed',
      actor: request.user === '' ? 'anonymous' : `user/${request.user}`,
      subject: targetText(request),
      outcome: denied ? 'denied' : outcome === 'connected' ? 'done' : 'failed',
      details: { connection: request.connection, source: `proxy/${proxy}`, ...facts },
    });
  }

  /** The root proxy is to blame, or its clock or ours. */
  #grantRefused(request: tunnel.DialRequest, proxy: string, cause: string, detail: string): void {
    const { connection, user } = request;
    this.#telemetry.metrics.counter(METRIC.grantsRefused, { cause }).add();
    this.#telemetry.log.warn(EVENT.grantRefused, { connection, proxy, cause, detail });
    this.#audit.record({
      kind: 'grant.refused',
      actor: `proxy/${proxy}`,
      subject: targetText(request),
      outcome: 'denied',
      details: { connection, user, cause, detail },
    });
  }

  /** Up is from the user to the node. */
  #bytes(): { readonly labels: { readonly direction: string }; readonly value: number }[] {
    let up = this.#endedUpBytes;
    let down = this.#endedDownBytes;
    for (const carried of this.#open) {
      const { sentBytes, receivedBytes } = carried.status();
      up += receivedBytes;
      down += sentBytes;
    }
    return [
      { labels: { direction: 'up' }, value: up },
      { labels: { direction: 'down' }, value: down },
    ];
  }
}

function targetText({ target }: tunnel.DialRequest): string {
  return `${target?.node ?? ''}.${target?.leaf ?? ''}:${target?.port ?? 0}`;
}
