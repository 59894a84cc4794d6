import type { LogFields } from '@xylem/telemetry';

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/;

/** The ids of a W3C trace context as log fields, for lines that are written outside of their span; none when there is none. */
export function traceFields(traceparent: string): LogFields {
  const [, traceId, spanId] = TRACEPARENT.exec(traceparent) ?? [];
  return traceId === undefined ? {} : { trace_id: traceId, span_id: spanId };
}
