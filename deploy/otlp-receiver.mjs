// Takes OTLP/HTTP traces (JSON) on 4318 and shows the newest spans as JSON lines at http://:16686/spans.
import { createServer } from 'node:http';

const KEEP = 10_000;
const LIMIT_BYTES = 8 * 1024 * 1024;
const spans = [];

function attributes(list) {
  return Object.fromEntries((list ?? []).map(({ key, value }) => [key, Object.values(value ?? {})[0]]));
}

function keep(body) {
  for (const resource of body.resourceSpans ?? []) {
    const { 'service.name': service, 'service.instance.id': instance } = attributes(resource.resource?.attributes);
    for (const scope of resource.scopeSpans ?? []) {
      for (const span of scope.spans ?? []) {
        const { traceId, spanId, parentSpanId, name } = span;
        spans.push({ service, instance, traceId, spanId, parentSpanId, name, attributes: attributes(span.attributes) });
      }
    }
  }
  spans.splice(0, Math.max(0, spans.length - KEEP));
}

createServer(async (request, response) => {
  const chunks = [];
  let size = 0;
  try {
    for await (const chunk of request) {
      size += chunk.length;
      if (size > LIMIT_BYTES) return response.writeHead(413).end();
      chunks.push(chunk);
    }
    if (request.url === '/v1/traces') keep(JSON.parse(Buffer.concat(chunks).toString()));
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  } catch {
    response.writeHead(400).end();
  }
}).listen(4318);

createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  response.end(spans.map((span) => `${JSON.stringify(span)}\n`).join(''));
}).listen(16686);
