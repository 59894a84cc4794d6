import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { ATTRIBUTE, EVENT, SPAN } from './names.ts';
import { startTelemetry } from './telemetry.ts';
import type { Telemetry } from './telemetry.ts';

interface ReceivedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly status: { readonly code: number; readonly message?: string };
  readonly attributes: readonly { readonly key: string; readonly value: Record<string, unknown> }[];
}
interface Batch {
  readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: readonly ReceivedSpan[] }[] }[];
}

describe('tracing', () => {
  const received: ReceivedSpan[] = [];
  const receiver = createServer((request, response) => {
    void text(request).then((body) => {
      const batch: Batch = JSON.parse(body);
      if (request.url === '/v1/traces')
        received.push(...batch.resourceSpans.flatMap((r) => r.scopeSpans.flatMap((s) => s.spans)));
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  });
  const lines: string[] = [];
  let endpoint = '';
  const start = (service: string, otlpEndpoint: string | undefined): Telemetry =>
    startTelemetry({
      service,
      instance: 'i1',
      version: '1',
      logLevel: 'info',
      otlpEndpoint,
      logDestination: { write: (line) => void lines.push(line) },
    });
  before(async () => {
    receiver.listen(0, '127.0.0.1');
    await once(receiver, 'listening');
    const { port }: AddressInfo = Object(receiver.address());
    endpoint = `http://127.0.0.1:${port}/`;
  });
  after(() => receiver.close());

  it('joins the spans of two services into one tree across a traceparent', async () => {
    const proxy = start('root-proxy', endpoint);
    const agent = start('leaf-agent', endpoint);
    await proxy.tracing.withSpan(
      SPAN.frontDoor,
      { kind: 'server', attributes: { [ATTRIBUTE.leaf]: 'berlin' } },
      async (door) => {
        const dial = proxy.tracing.startSpan(SPAN.tunnelDial, { kind: 'client' });
        await assert.rejects(
          agent.tracing.withSpan(SPAN.nodeConnect, { traceparent: dial.traceparent }, () =>
            Promise.reject(new Error('refused')),
          ),
          /refused/,
        );
        dial.end();
        dial.end();
        door.setAttribute(ATTRIBUTE.outcome, 'refused');
      },
    );
    await Promise.all([proxy.shutdown(), agent.shutdown()]);
    const byName = (name: string): ReceivedSpan =>
      received.find((span) => span.name === name) ?? assert.fail(`no span ${name}`);
    const [door, dial, connect] = [byName(SPAN.frontDoor), byName(SPAN.tunnelDial), byName(SPAN.nodeConnect)];
    assert.equal(received.length, 3);
    assert.equal(door.parentSpanId ?? '', '');
    assert.equal(dial.parentSpanId, door.spanId);
    assert.equal(connect.parentSpanId, dial.spanId);
    assert.deepEqual(new Set([door.traceId, dial.traceId, connect.traceId]).size, 1);
    assert.deepEqual(connect.status, { code: 2, message: 'refused' });
    assert.deepEqual(
      door.attributes.map(({ key, value }) => [key, value['stringValue']]),
      [
        ['xylem.leaf', 'berlin'],
        ['xylem.dial.outcome', 'refused'],
      ],
    );
  });

  it('puts the ids of the span into log lines, and only inside of it', async () => {
    const { log, tracing, shutdown } = start('root-proxy', endpoint);
    lines.length = 0;
    let traceparent = '';
    await tracing.withSpan(SPAN.drain, {}, async (span) => {
      traceparent = span.traceparent;
      log.info(EVENT.drainStarted);
    });
    log.info(EVENT.drainFinished);
    const [inside, outside]: Record<string, string>[] = lines.map((line) => JSON.parse(line));
    assert.equal(traceparent, `00-${inside?.['trace_id']}-${inside?.['span_id']}-01`);
    assert.equal(outside?.['trace_id'], undefined);
    await shutdown();
  });

  it('starts a new trace for a malformed trace context', async () => {
    const { tracing, shutdown } = start('root-proxy', endpoint);
    assert.match(
      tracing.startSpan(SPAN.attach, { traceparent: 'nonsense\r\n' }).traceparent,
      /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/,
    );
    await shutdown();
  });

  it('hands the trace context through and records nothing without an endpoint', async () => {
    const { tracing, shutdown } = start('leaf-agent', undefined);
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
    assert.equal(tracing.enabled, false);
    assert.equal(tracing.startSpan(SPAN.nodeConnect), tracing.startSpan(SPAN.nodeConnect));
    assert.equal(
      await tracing.withSpan(SPAN.nodeConnect, { traceparent }, async (span) => span.traceparent),
      traceparent,
    );
    await shutdown();
  });

  it('ends within the deadline, and says so once, when the collector is away', async () => {
    const { tracing, shutdown } = start('leaf-agent', 'http://127.0.0.1:9');
    lines.length = 0;
    tracing.startSpan(SPAN.nodeConnect).end();
    await shutdown(500);
    assert.ok(lines.length <= 1);
    assert.ok(lines.every((line) => line.includes('telemetry.spans_dropped')));
  });
});
