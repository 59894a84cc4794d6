import { setGlobalErrorHandler } from '@opentelemetry/core';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { DestinationStream } from 'pino';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { createLog } from './log.ts';
import type { Log, LogLevel } from './log.ts';
import { createMetrics } from './metrics.ts';
import type { Metrics } from './metrics.ts';
import { EVENT, METRIC } from './names.ts';
import { createSilentTracing, createTracing } from './tracing.ts';
import type { Tracing } from './tracing.ts';

export interface TelemetryOptions {
  /** e.g. `root-proxy` */
  readonly service: string;
  /** The id within the deployment, e.g. `p1` or `berlin/a1`. */
  readonly instance: string;
  /** Version of the software. */
  readonly version: string;
  readonly logLevel: LogLevel;
  /** OTLP/HTTP base URL; undefined: no spans are recorded. */
  readonly otlpEndpoint?: string | undefined;
  /** Default: standard output. */
  readonly logDestination?: DestinationStream;
}

export interface Telemetry {
  readonly log: Log;
  readonly tracing: Tracing;
  readonly metrics: Metrics;
  /** Sends what is left, within the deadline. Default 2_000. */
  shutdown(deadlineMs?: number): Promise<void>;
}

const SHUTDOWN_MS = 2_000;
/** A collector that is away is said once in this time, not once per batch. */
const EXPORT_REPORT_INTERVAL_MS = 60_000;
const MICROSECONDS_PER_SECOND = 1_000_000;
const NANOSECONDS_PER_SECOND = 1_000_000_000;
/** A timer this often: finer would wake idle agents on batteries without need. */
const LOOP_RESOLUTION_MS = 50;

/** Logs, spans and metrics of one process. Call once. */
export function startTelemetry(options: TelemetryOptions): Telemetry {
  const resource = resourceFromAttributes({
    'service.name': `xylem-${options.service}`,
    'service.instance.id': options.instance,
    'service.version': options.version,
  });
  const tracing =
    options.otlpEndpoint === undefined ? createSilentTracing() : createTracing(options.otlpEndpoint, resource);
  const log = createLog({
    service: options.service,
    instance: options.instance,
    level: options.logLevel,
    traceFields: () => tracing.logFields(),
    ...(options.logDestination === undefined ? {} : { destination: options.logDestination }),
  });
  if (options.otlpEndpoint !== undefined) reportExportErrors(log, options.otlpEndpoint);
  const metrics = createMetrics(resource);
  observeProcess(metrics);
  return {
    log,
    tracing,
    metrics,
    async shutdown(deadlineMs = SHUTDOWN_MS) {
      await tracing.shutdown(deadlineMs);
      await metrics.shutdown();
    },
  };
}

function reportExportErrors(log: Log, endpoint: string): void {
  let reportedAt = Number.NEGATIVE_INFINITY;
  setGlobalErrorHandler((error) => {
    const now = performance.now();
    if (now - reportedAt < EXPORT_REPORT_INTERVAL_MS) return;
    reportedAt = now;
    const detail = typeof error === 'string' ? error : error.message;
    log.warn(EVENT.spansDropped, { endpoint, detail, remedy: 'check telemetry.otlpEndpoint and the collector' });
  });
}

function observeProcess(metrics: Metrics): void {
  let last = performance.eventLoopUtilization();
  metrics.observe(METRIC.residentBytes, () => process.memoryUsage.rss());
  metrics.observe(METRIC.heapBytes, () => process.memoryUsage().heapUsed);
  metrics.observe(METRIC.cpuSeconds, () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / MICROSECONDS_PER_SECOND;
  });
  metrics.observe(METRIC.loopBusyRatio, () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, last);
    last = now;
    return utilization;
  });
  const delay = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  delay.enable();
  metrics.observe(METRIC.loopDelaySeconds, () => {
    // What is recorded is the time between two timers, of which the resolution is no delay.
    const late = (nanoseconds: number): number =>
      Math.max(0, nanoseconds / NANOSECONDS_PER_SECOND - LOOP_RESOLUTION_MS / 1_000);
    const samples = [
      { labels: { quantile: '0.99' }, value: late(delay.percentile(99)) },
      { labels: { quantile: '1' }, value: late(delay.max) },
    ];
    delay.reset();
    return samples;
  });
}
