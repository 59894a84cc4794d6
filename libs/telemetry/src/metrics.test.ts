import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { SERIES_LIMIT, createMetrics } from './metrics.ts';
import type { Metrics } from './metrics.ts';
import { ATTRIBUTE, EVENT, METRIC, SPAN } from './names.ts';

function made(): Metrics {
  return createMetrics(resourceFromAttributes({ 'service.name': 'xylem-test', 'service.instance.id': 'i1' }));
}

async function lines(metrics: Metrics, prefix: string): Promise<string[]> {
  return (await metrics.render()).split('\n').filter((line) => line.startsWith(prefix));
}

describe('metrics', () => {
  it('renders counters, levels and observed values as Prometheus text', async () => {
    const metrics = made();
    metrics.counter(METRIC.dials, { outcome: 'connected' }).add();
    metrics.counter(METRIC.dials, { outcome: 'connected' }).add(2);
    metrics.counter(METRIC.dials, { outcome: 'refused' });
    metrics.level(METRIC.openConnections).set(5);
    metrics.level(METRIC.openConnections).add(-1);
    metrics.observe(METRIC.wanted, () => 3);
    metrics.observe(METRIC.tunnels, () => [
      { labels: { state: 'claimed' }, value: 2 },
      { labels: { state: 'standby' }, value: 1 },
    ]);
    const text = await metrics.render();
    for (const line of [
      '# TYPE xylem_dials_total counter',
      '# HELP xylem_dials_total User dials by outcome.',
      'xylem_dials_total{outcome="connected"} 3',
      'xylem_dials_total{outcome="refused"} 0',
      '# TYPE xylem_connections gauge',
      'xylem_connections 4',
      'xylem_discovery_wanted 3',
      'xylem_tunnels{state="claimed"} 2',
      'xylem_tunnels{state="standby"} 1',
      'target_info{service_name="xylem-test",service_instance_id="i1"} 1',
    ]) {
      assert.ok(text.split('\n').includes(line), `${line}\n--- in ---\n${text}`);
    }
  });

  it('shows an observed series that is gone as 0', async () => {
    const metrics = made();
    let states = ['claimed', 'draining'];
    metrics.observe(METRIC.tunnels, () => states.map((state) => ({ labels: { state }, value: 1 })));
    assert.equal((await lines(metrics, 'xylem_tunnels{')).length, 2);
    states = ['claimed'];
    assert.deepEqual(await lines(metrics, 'xylem_tunnels{'), [
      'xylem_tunnels{state="claimed"} 1',
      'xylem_tunnels{state="draining"} 0',
    ]);
  });

  it('renders histograms in seconds', async () => {
    const metrics = made();
    metrics.histogram(METRIC.pingSeconds).record(0.03);
    assert.ok((await lines(metrics, 'xylem_ping_seconds_bucket')).includes('xylem_ping_seconds_bucket{le="0.05"} 1'));
    assert.deepEqual(await lines(metrics, 'xylem_ping_seconds_count'), ['xylem_ping_seconds_count 1']);
  });

  it('A28: counts label values past the bound together under other', async () => {
    const metrics = made();
    for (let i = 0; i < 10 * SERIES_LIMIT; i += 1) metrics.counter(METRIC.balancerHits, { proxy: `p${i}` }).add();
    metrics.observe(METRIC.poolEntries, () =>
      Array.from({ length: 1_000 }, (_, i) => ({ labels: { state: `s${i}` }, value: 1 })),
    );
    const counted = await lines(metrics, 'xylem_discovery_balancer_hits_total{');
    assert.equal(counted.length, SERIES_LIMIT + 1);
    assert.ok(counted.includes(`xylem_discovery_balancer_hits_total{proxy="other"} ${9 * SERIES_LIMIT}`));
    assert.ok(
      (await lines(metrics, 'xylem_pool_entries{')).includes(
        `xylem_pool_entries{state="other"} ${1_000 - SERIES_LIMIT}`,
      ),
    );
  });

  it('A24: escapes label values', async () => {
    const metrics = made();
    metrics.counter(METRIC.balancerHits, { proxy: 'a"b\\c\nd' }).add();
    assert.deepEqual(await lines(metrics, 'xylem_discovery_balancer_hits_total{'), [
      'xylem_discovery_balancer_hits_total{proxy="a\\"b\\\\c\\nd"} 1',
    ]);
  });
});

describe('names', () => {
  it('are unique and of one form', () => {
    for (const names of [
      Object.values(SPAN),
      Object.values(ATTRIBUTE),
      Object.values(EVENT),
      Object.values(METRIC).map(({ name }) => name),
    ]) {
      assert.equal(new Set(names).size, names.length);
      for (const name of names) assert.match(name, /^[a-z]+(?:[._][a-z]+)*$/);
    }
  });
});
