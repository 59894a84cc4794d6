import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { after, before, test } from 'node:test';
import { firstOnly } from './testing/balancer.ts';
import { claimedBy, connectThrough, eventually, World } from './testing/world.ts';

interface Span {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly service: string;
}

interface ExportedSpans {
  readonly resourceSpans: readonly {
    readonly resource: {
      readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[];
    };
    readonly scopeSpans: readonly { readonly spans: readonly Omit<Span, 'service'>[] }[];
  }[];
}

/** Takes OTLP/HTTP JSON as a collector would. */
class Collector {
  readonly spans: Span[] = [];
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        this.#take(JSON.parse(Buffer.concat(chunks).toString()));
        response.end('{}');
      });
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #take({ resourceSpans }: ExportedSpans): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      const service = resource.attributes.find(({ key }) => key === 'service.instance.id')?.value.stringValue ?? '';
      for (const { spans } of scopeSpans) this.spans.push(...spans.map((span) => ({ ...span, service })));
    }
  }
}

let world: World;
const collector = new Collector();

before(async () => {
  world = await World.create(firstOnly);
  await world.echoNode('web');
});
after(async () => {
  await world.close();
  collector.close();
});

test('one trace shows the way of a connection over a peer, and one the attach with its claim', async () => {
  const otlpEndpoint = await collector.listen();
  const p1 = await world.proxy('p1', { otlpEndpoint });
  const p2 = await world.proxy('p2', { otlpEndpoint });
  await world.agent('berlin', 'a1', {}, 'off', { otlpEndpoint });
  await eventually('p1 is claimed', () => claimedBy(p1, 'a1'));
  await eventually('p2 knows of it', () => p2.status().dials.knownLeaves > 0);
  const { client, head } = await connectThrough(p2.ports.frontDoor, 'web.berlin:80');
  assert.match(head, /^HTTP\/1\.1 200 /);
  client.socket.destroy();
  const find = (name: string, service?: string) =>
    collector.spans.find((span) => span.name === name && (service === undefined || span.service === service));
  const node = await eventually('the node span is there', () => find('xylem.node.connect'));
  const way = await eventually('all spans of the way are there', () => {
    const chain = [node];
    for (let last = node; last.parentSpanId !== undefined;) {
      const parent = collector.spans.find(({ spanId }) => spanId === last.parentSpanId);
      if (parent === undefined) return undefined;
      chain.unshift(parent);
      last = parent;
    }
    return chain;
  });
  assert.deepEqual(
    way.map(({ name, service }) => `${service} ${name}`),
    [
      'p2 xylem.front_door',
      'p2 xylem.peer.forward',
      'p1 xylem.peer.receive',
      'p1 xylem.tunnel.dial',
      'berlin/a1 xylem.node.connect',
    ],
  );
  assert.equal(new Set(way.map(({ traceId }) => traceId)).size, 1);
  const opened = p2.log.find(({ event }) => event === 'connection.opened');
  assert.equal(opened?.['trace_id'], way[0]?.traceId);
  const attach = await eventually('the attach span is there', () => find('xylem.tunnel.attach', 'p1'));
  const record = await eventually('the claim span is there', () => find('xylem.claim.record', 'p1'));
  assert.equal(record.traceId, attach.traceId);
  assert.equal(record.parentSpanId, attach.spanId);
});
