import {
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  defaultTextMapGetter,
  defaultTextMapSetter,
  trace,
} from '@opentelemetry/api';
import type { Context, Span, Tracer } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { TRACE_PARENT_HEADER, W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import type { Resource } from '@opentelemetry/resources';
import { AlwaysOnSampler, BatchSpanProcessor, ParentBasedSampler, TracerProvider } from '@opentelemetry/sdk-trace';
import type { LogFields } from './log.ts';
import type { AttributeName, SpanName } from './names.ts';

export type AttributeValue = string | number | boolean;
export type Attributes = Readonly<Partial<Record<AttributeName, AttributeValue>>>;

export interface SpanOptions {
  /** W3C trace context received from the caller; empty or undefined: the active span, else a new trace. */
  readonly traceparent?: string | undefined;
  readonly kind?: 'internal' | 'server' | 'client';
  readonly attributes?: Attributes;
}

/** A span that is open. */
export interface SpanHandle {
  /** W3C trace context to hand on; empty when there is none. */
  readonly traceparent: string;
  setAttribute(name: AttributeName, value: AttributeValue): void;
  /** Marks the span as failed. */
  fail(detail: string): void;
  /** Idempotent. */
  end(): void;
}

export interface Tracing {
  /** False without an endpoint: then spans cost nothing and trace contexts are passed on as they came. */
  readonly enabled: boolean;
  startSpan(name: SpanName, options?: SpanOptions): SpanHandle;
  /** Runs `run` inside a span that ends with it; a rejection marks the span as failed and is passed on. */
  withSpan<T>(name: SpanName, options: SpanOptions, run: (span: SpanHandle) => Promise<T>): Promise<T>;
  /** trace_id and span_id of the active span. */
  logFields(): LogFields | undefined;
  /** Sends what is left, within the deadline. */
  shutdown(deadlineMs: number): Promise<void>;
}

const KINDS = { internal: SpanKind.INTERNAL, server: SpanKind.SERVER, client: SpanKind.CLIENT } as const;
/** Memory for spans that the collector does not take: 2,048 spans, about 2 MiB; further ones are dropped. */
const QUEUE_LIMIT_SPANS = 2_048;
const EXPORT_DELAY_MS = 1_000;
const EXPORT_TIMEOUT_MS = 5_000;

/** Spans go nowhere; only the trace context is handed through. */
export function createSilentTracing(): Tracing {
  const startSpan = (_name: SpanName, options?: SpanOptions): SpanHandle => {
    return options?.traceparent === undefined || options.traceparent === ''
      ? SILENT_SPAN
      : silentSpan(options.traceparent);
  };
  return {
    enabled: false,
    startSpan,
    withSpan: (name, options, run) => run(startSpan(name, options)),
    logFields: () => undefined,
    shutdown: () => Promise.resolve(),
  };
}

function silentSpan(traceparent: string): SpanHandle {
  return { traceparent, setAttribute() {}, fail() {}, end() {} };
}

const SILENT_SPAN = silentSpan('');

/** Spans go to `<endpoint>/v1/traces` in batches, as OTLP/HTTP JSON. */
export function createTracing(endpoint: string, resource: Resource): Tracing {
  const exporter = new OTLPTraceExporter({
    url: `${endpoint.replace(/\/+$/, '')}/v1/traces`,
    timeoutMillis: EXPORT_TIMEOUT_MS,
  });
  const provider = new TracerProvider({
    resource,
    sampler: new ParentBasedSampler({ root: new AlwaysOnSampler() }),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter,
        scheduledDelayMillis: EXPORT_DELAY_MS,
        maxQueueSize: QUEUE_LIMIT_SPANS,
        exportTimeoutMillis: EXPORT_TIMEOUT_MS,
      }),
    ],
  });
  return new RecordingTracing(provider);
}

class RecordingTracing implements Tracing {
  readonly enabled = true;
  readonly #provider: TracerProvider;
  readonly #tracer: Tracer;
  readonly #propagator = new W3CTraceContextPropagator();
  readonly #contexts = new AsyncLocalStorageContextManager().enable();

  constructor(provider: TracerProvider) {
    this.#provider = provider;
    this.#tracer = provider.getTracer('xylem');
  }

  startSpan(name: SpanName, options: SpanOptions = {}): SpanHandle {
    return this.#open(name, options).handle;
  }

  async withSpan<T>(name: SpanName, options: SpanOptions, run: (span: SpanHandle) => Promise<T>): Promise<T> {
    const { handle, context } = this.#open(name, options);
    try {
      return await this.#contexts.with(context, () => run(handle));
    } catch (error) {
      handle.fail(error instanceof Error ? error.message : String(error));
      throw error;
    } finally {
      handle.end();
    }
  }

  logFields(): LogFields | undefined {
    const context = trace.getSpanContext(this.#contexts.active());
    return context === undefined ? undefined : { trace_id: context.traceId, span_id: context.spanId };
  }

  async shutdown(deadlineMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, deadlineMs);
    // A collector that is away must not keep the service from ending.
    await Promise.race([this.#provider.shutdown().catch(() => undefined), promise]);
    clearTimeout(timer);
  }

  #open(name: SpanName, options: SpanOptions): { readonly handle: SpanHandle; readonly context: Context } {
    const parent = this.#parentOf(options.traceparent);
    const attributes = options.attributes ?? {};
    const span = this.#tracer.startSpan(name, { kind: KINDS[options.kind ?? 'internal'], attributes }, parent);
    const context = trace.setSpan(parent, span);
    return { handle: recordingSpan(span, this.#traceparentOf(context)), context };
  }

  #parentOf(traceparent: string | undefined): Context {
    if (traceparent === undefined || traceparent === '') return this.#contexts.active();
    return this.#propagator.extract(ROOT_CONTEXT, { [TRACE_PARENT_HEADER]: traceparent }, defaultTextMapGetter);
  }

  #traceparentOf(context: Context): string {
    const carrier: Record<string, string> = {};
    this.#propagator.inject(context, carrier, defaultTextMapSetter);
    return carrier[TRACE_PARENT_HEADER] ?? '';
  }
}

function recordingSpan(span: Span, traceparent: string): SpanHandle {
  let ended = false;
  return {
    traceparent,
    setAttribute: (name, value) => void span.setAttribute(name, value),
    fail: (detail) => void span.setStatus({ code: SpanStatusCode.ERROR, message: detail }),
    end() {
      if (!ended) span.end();
      ended = true;
    },
  };
}
