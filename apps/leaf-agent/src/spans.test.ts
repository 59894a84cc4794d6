import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { startTestAgent, startTestNode } from './testing/agent.ts';
import { makeIdentity, outcomeOf, soon, startScriptedRoot } from './testing/root.ts';

interface SpanLine {
  readonly name: string;
  readonly traceId: string;
  readonly parentSpanId: string;
}

test('the trace of a user goes on at the agent, and an attach has its own that the proxy can join', async () => {
  const spans: SpanLine[] = [];
  const collector = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      spans.push(...spansOf(JSON.parse(body)));
      response.end('{}');
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  const bound = collector.address();
  const port = bound !== null && typeof bound === 'object' ? bound.port : 0;
  const identity = await makeIdentity('berlin', 'a1');
  const root = await startScriptedRoot(identity.authority);
  const node = await startTestNode();
  const { agent, log } = await startTestAgent({
    identity,
    rootPort: root.port,
    nodes: [{ name: 'echo', ports: [{ port: 7, address: node.address }] }],
    changes: { telemetry: { otlpEndpoint: `http://127.0.0.1:${port}` } },
  });
  const tunnel = await root.attached();
  tunnel.accept();
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const parent = 'b7ad6b7169203331';
  tunnel.dial({
    connection: 'c1',
    target: { leaf: 'berlin', node: 'echo', port: 7 },
    user: 'ada',
    timeoutMs: 1_000,
    incarnation: 7n,
    token: 0n,
    traceparent: `00-${traceId}-${parent}-01`,
  });
  await outcomeOf((await root.carried()).frames);
  await soon(log.has({ event: 'connection.opened', trace_id: traceId }), 'a log line with the trace');
  await agent.stop();
  const dial = spans.find(({ name }) => name === 'xylem.node.connect');
  assert.deepEqual([dial?.traceId, dial?.parentSpanId], [traceId, parent]);
  const attach = spans.find(({ name }) => name === 'xylem.discovery.dial');
  assert.match(tunnel.hello.traceparent, new RegExp(`^00-${attach?.traceId}-`));
  assert.ok(spans.some(({ name }) => name === 'xylem.drain'));
  await Promise.all([root.close(), node.close(), new Promise((done) => collector.close(done))]);
  identity.remove();
});

/** The spans of an OTLP/HTTP JSON request. */
function spansOf(body: unknown): SpanLine[] {
  const found: SpanLine[] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    if ('traceId' in value && 'name' in value) {
      const parentSpanId = 'parentSpanId' in value ? String(value.parentSpanId) : '';
      found.push({ name: String(value.name), traceId: String(value.traceId), parentSpanId });
    }
    for (const inner of Object.values(value)) visit(inner);
  };
  visit(body);
  return found;
}
