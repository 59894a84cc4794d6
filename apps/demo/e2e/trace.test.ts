/** What an operator sees of a user's connection, of attaching and of claiming: traces of real processes at an OTLP endpoint. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { EVENT, SPAN } from '@xylem/telemetry';
import { EchoConnection } from '../src/check/echo.ts';
import type { ProxyPart } from '../src/deployment.ts';
import { DOMAIN, ECHO_PORT } from '../src/layout.ts';
import { Observer } from '../src/observer.ts';
import { Collector } from './support/collector.ts';
import type { Span } from './support/collector.ts';
import { Rig } from './support/rig.ts';

const DEADLINE_MS = 20_000;
const collector = new Collector();
let rig: Rig;
let withTunnel: ProxyPart;
let without: ProxyPart;

before(async () => {
  await collector.listen();
  rig = await Rig.create({ otlpEndpoint: collector.endpoint, logLevel: 'debug' });
  await rig.startRegistry();
  [withTunnel, without] = await Promise.all([rig.startProxy('p1'), rig.startProxy('p2')]);
  // It reaches p1 only and does not steer: p2 has no tunnel of its own.
  await rig.startAgent('berlin', 'a1', { root: withTunnel.addresses.tunnel, steering: 'off' });
  const recorded = () => rig.recorder.events(EVENT.claimRecorded, 'berlin/a1')[0];
  await rig.recorder.until('p1 is claimed', recorded, DEADLINE_MS);
});

after(async () => {
  await rig.close();
  collector.close();
});

/** From the root of the trace down to `leaf`; undefined while a span is on its way. */
function wayTo(leaf: Span, spans: readonly Span[]): readonly Span[] | undefined {
  const way = [leaf];
  for (let last = leaf; last.parentSpanId !== undefined && last.parentSpanId !== '';) {
    const parent = spans.find(({ spanId }) => spanId === last.parentSpanId);
    if (parent === undefined) return undefined;
    way.unshift(parent);
    last = parent;
  }
  return way;
}

function wayOf(name: string, instance: string): Promise<readonly Span[]> {
  const find = (spans: readonly Span[]): readonly Span[] | undefined => {
    const leaf = spans.findLast((span) => span.name === name && span.instance === instance);
    return leaf === undefined ? undefined : wayTo(leaf, spans);
  };
  return collector.until(`the way to ${name} of ${instance}`, find, DEADLINE_MS);
}

const steps = (way: readonly Span[]): readonly string[] => way.map(({ instance, name }) => `${instance} ${name}`);

test("a connection's trace: front door, peer, tunnel, node, one below the other, and the log lines bear its id", async () => {
  const observer = new Observer(rig.user, without.addresses.access, DOMAIN);
  const { reached } = await observer.until(
    ({ proxies }) => proxies.every(({ silence }) => silence === ''),
    DEADLINE_MS,
  );
  assert.ok(reached, 'the root proxies reach each other');
  const connection = await EchoConnection.open(without.addresses.frontDoor, `echo.berlin:${ECHO_PORT}`);
  await connection.exchange();
  const way = await wayOf(SPAN.nodeConnect, 'berlin/a1');
  assert.deepEqual(steps(way), [
    `p2 ${SPAN.frontDoor}`,
    `p2 ${SPAN.peerForward}`,
    `p1 ${SPAN.peerReceive}`,
    `p1 ${SPAN.tunnelDial}`,
    `berlin/a1 ${SPAN.nodeConnect}`,
  ]);
  const [root] = way;
  assert.ok(root);
  assert.deepEqual(new Set(way.map(({ traceId }) => traceId)), new Set([root.traceId]));
  const all = collector.spans.filter(({ traceId }) => traceId === root.traceId);
  assert.equal(all.length, way.length, 'the trace has no other spans');

  await connection.end();
  for (const [event, service] of [
    [EVENT.connectionOpened, 'p2'],
    [EVENT.connectionOpened, 'p1'],
    [EVENT.connectionOpened, 'berlin/a1'],
    [EVENT.connectionClosed, 'p2'],
    [EVENT.connectionClosed, 'berlin/a1'],
  ] as const) {
    const line = await rig.recorder.until(
      `${service} logs ${event}`,
      () => rig.recorder.events(event, service)[0],
      DEADLINE_MS,
    );
    assert.equal(line.fields['trace_id'], root.traceId, `${event} of ${service}`);
  }
});

test('an attach has its trace from the dial of the agent on, with the claim and its record in it', async () => {
  const way = await wayOf(SPAN.claimRecord, 'p1');
  assert.deepEqual(steps(way), [`berlin/a1 ${SPAN.discoveryDial}`, `p1 ${SPAN.attach}`, `p1 ${SPAN.claimRecord}`]);
  assert.equal(new Set(way.map(({ traceId }) => traceId)).size, 1);
});
