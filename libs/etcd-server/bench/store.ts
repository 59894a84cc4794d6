/**
 * `npm run bench -- store [seconds per measurement, default 2] [repeats, default 5]`: the embedded store and real etcd, each in a
 * process of its own, both syncing to the same disk, measured in turn by the same client. One JSON line per measurement and server:
 * the median over the repeats. The client (grpc-js) is the limit of neither before some 5,000 calls/s.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEtcd } from '@xylem/testkit';
import { etcd } from '@xylem/wire';
import { EtcdClient, bytes, must } from '../src/testing/client.ts';
import { startServerProcess } from '../src/testing/process.ts';

const [secondsText = '2', repeatsText = '5'] = process.argv.slice(2);
const MEASURE_MS = Number(secondsText) * 1_000;
const REPEATS = Number(repeatsText);

const VALUE = Buffer.alloc(256, 0x61);
const KEYS = 1_000;
const CONCURRENCY = 64;
const WATCHERS = 100;
const WATCH_CONNECTIONS = 10;
const FAN_OUT_PUTS = 100;

interface Measured {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Calls `action` from `concurrency` loops for the measuring time. */
async function rate(concurrency: number, action: (index: number) => Promise<unknown>): Promise<Measured> {
  const latencies: number[] = [];
  const start = performance.now();
  let next = 0;
  const loop = async (): Promise<void> => {
    while (performance.now() - start < MEASURE_MS) {
      const before = performance.now();
      next += 1;
      await action(next);
      latencies.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, loop));
  return summarise(latencies, performance.now() - start);
}

function summarise(latencies: number[], elapsedMs: number): Measured {
  latencies.sort((left, right) => left - right);
  const at = (share: number): number => round(latencies[Math.floor(latencies.length * share)] ?? 0);
  return { perSecond: Math.round((latencies.length / elapsedMs) * 1_000), p50Ms: at(0.5), p99Ms: at(0.99) };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function put(client: EtcdClient, index: number): Promise<unknown> {
  return client.put({ key: bytes(`k${index % KEYS}`), value: VALUE }).then(must);
}

/** What claiming a proxy takes: put if absent, else read who has it. */
function claim(client: EtcdClient, index: number): Promise<unknown> {
  const key = bytes(`claims/${index % KEYS}`);
  const request: etcd.TxnRequest = {
    compare: [
      {
        ...etcd.Compare.create(),
        key,
        target: etcd.Compare_CompareTarget.CREATE,
        targetUnion: { $case: 'createRevision', value: 0n },
      },
    ],
    success: [{ request: { $case: 'requestPut', value: { ...etcd.PutRequest.create(), key, value: VALUE } } }],
    failure: [
      { request: { $case: 'requestRange', value: { ...etcd.RangeRequest.create(), key } } },
      {
        request: { $case: 'requestPut', value: { ...etcd.PutRequest.create(), key: bytes('c/renewed'), value: VALUE } },
      },
    ],
  };
  return client.txn(request).then(must);
}

/** Puts of one key that many watch; a put counts as done when every watcher has heard of it. */
async function fanOut(address: string): Promise<Measured> {
  const clients = Array.from({ length: WATCH_CONNECTIONS }, () => new EtcdClient(address));
  const watches = [];
  for (let index = 0; index < WATCHERS; index += 1) {
    const watch = clients[index % WATCH_CONNECTIONS]?.watchStream();
    if (watch === undefined) continue;
    watches.push({ watch, id: (await watch.create({ key: bytes('watched') })).watchId });
  }
  const latencies: number[] = [];
  const start = performance.now();
  for (let index = 0; index < FAN_OUT_PUTS; index += 1) {
    const before = performance.now();
    const writer = clients[0];
    if (writer === undefined) break;
    const [reply] = await Promise.all([
      writer.put({ key: bytes('watched'), value: VALUE }),
      ...watches.map(({ watch, id }) => watch.nextOf(id)),
    ]);
    must(reply);
    latencies.push(performance.now() - before);
  }
  const elapsedMs = performance.now() - start;
  for (const { watch } of watches) watch.cancel();
  for (const client of clients) client.close();
  const measured = summarise(latencies, elapsedMs);
  return { ...measured, perSecond: measured.perSecond * WATCHERS };
}

const MEASUREMENTS: Readonly<Record<string, (client: EtcdClient, address: string) => Promise<Measured>>> = {
  'put, one at a time': (client) => rate(1, (index) => put(client, index)),
  'put, 64 at a time': (client) => rate(CONCURRENCY, (index) => put(client, index)),
  'claim transaction, 64 at a time': (client) => rate(CONCURRENCY, (index) => claim(client, index)),
  'get, 64 at a time': (client) =>
    rate(CONCURRENCY, (index) => client.range({ key: bytes(`k${index % KEYS}`) }).then(must)),
  'watch events, 100 watchers': (_client, address) => fanOut(address),
};

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? 0;
}

const dataDir = await mkdtemp(join(tmpdir(), 'xylem-bench-'));
const embedded = await startServerProcess(dataDir);
const real = await startEtcd({
  heartbeatIntervalMs: 100,
  electionTimeoutMs: 1_000,
  durable: true,
});
const servers = [
  { server: 'embedded', address: embedded.address },
  { server: 'etcd', address: real.address },
];
try {
  for (const [measurement, measure] of Object.entries(MEASUREMENTS)) {
    const results = new Map<string, Measured[]>(servers.map(({ server }) => [server, []]));
    for (let repeat = 0; repeat < REPEATS; repeat += 1) {
      for (const { server, address } of servers) {
        const client = new EtcdClient(address);
        results.get(server)?.push(await measure(client, address));
        client.close();
      }
    }
    for (const [server, list] of results) {
      const medians = {
        perSecond: median(list.map(({ perSecond }) => perSecond)),
        p50Ms: median(list.map(({ p50Ms }) => p50Ms)),
        p99Ms: median(list.map(({ p99Ms }) => p99Ms)),
      };
      console.log(JSON.stringify({ bench: 'store', measurement, server, ...medians, repeats: REPEATS }));
    }
  }
} finally {
  await embedded.kill();
  await real.dispose();
  await rm(dataDir, { recursive: true, force: true });
}
