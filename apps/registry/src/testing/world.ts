import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createAuthority, memoryTlsSource } from '@xylem/identity';
import type { Authority, Identity, TlsSource } from '@xylem/identity';
import { startTelemetry } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import { startEtcd } from '@xylem/testkit';
import type { registry } from '@xylem/wire';
import { start } from '../compose.ts';
import type { Ports, RunningRegistry } from '../compose.ts';
import type { RegistrySettings } from '../config.ts';
import { ProxyClient } from './proxy-client.ts';

type Hello = registry.ProxyHello;

export interface TestRegistry extends RunningRegistry {
  /** Its log, line by line. */
  readonly lines: readonly string[];
}

const DOMAIN = 'xylem.internal';
const HOUR_MS = 3_600_000;

/** One certificate authority and what it has issued. */
export class World {
  readonly #authority: Authority;
  readonly #proxies = new Map<string, Promise<TlsSource>>();

  constructor(authority: Authority) {
    this.#authority = authority;
  }

  async tls(identity: Identity): Promise<TlsSource> {
    const issued = await this.#authority.issue(identity, HOUR_MS);
    return memoryTlsSource({ ca: issued.ca, cert: issued.cert, key: issued.key.reveal() });
  }

  /** A session of a root proxy at this registry, closed after the test. */
  async proxy(
    t: TestContext,
    registry: { readonly port: number },
    proxy: string,
    nonce: string,
    hello: Partial<Hello> = {},
  ): Promise<ProxyClient> {
    const client = new ProxyClient({ port: registry.port, tls: await this.#proxyTls(proxy), proxy, nonce, hello });
    t.after(() => client.kill());
    return client;
  }

  /** A session opened with somebody else's certificate. */
  async client(t: TestContext, registry: { readonly port: number }, identity: Identity): Promise<ProxyClient> {
    const client = new ProxyClient({ port: registry.port, tls: await this.tls(identity), proxy: 'p1', nonce: 'one' });
    t.after(() => client.kill());
    return client;
  }

  async #proxyTls(proxy: string): Promise<TlsSource> {
    const known = this.#proxies.get(proxy) ?? this.tls({ kind: 'proxy', proxy });
    this.#proxies.set(proxy, known);
    return known;
  }

  /** A registry on free ports, killed after the test. */
  async registry(
    t: TestContext,
    id: string,
    store: RegistrySettings['store'],
    ports: Ports = {},
  ): Promise<TestRegistry> {
    const tls = await this.tls({ kind: 'registry', registry: id });
    const lines: string[] = [];
    const running = await start(settings(id, store), { tls, telemetry: collect(id, lines), ...ports });
    t.after(async () => {
      await running.kill();
      if (process.env['XYLEM_TEST_LOGS'] !== undefined) process.stderr.write(lines.join(''));
    });
    return { ...running, lines };
  }
}

/** A registry with an authority of its own on free ports, killed after the test. */
export async function authorityRegistry(
  t: TestContext,
  id: string,
  store: StoreSettings,
  change: Partial<RegistrySettings> = {},
  ports: Ports = {},
): Promise<TestRegistry> {
  const lines: string[] = [];
  const dataDir = change.dataDir ?? (await folder(t));
  const { tls: _tls, ...rest } = settings(id, store);
  const running = await start({ ...rest, dataDir, ...change }, { telemetry: collect(id, lines), ...ports });
  t.after(async () => {
    await running.kill();
    if (process.env['XYLEM_TEST_LOGS'] !== undefined) process.stderr.write(lines.join(''));
  });
  return { ...running, lines };
}

function collect(id: string, lines: string[]): Telemetry {
  return startTelemetry({
    service: 'registry',
    instance: id,
    version: 'test',
    logLevel: 'debug',
    logDestination: { write: (line) => void lines.push(line) },
  });
}

export async function makeWorld(): Promise<World> {
  return new World(await createAuthority({ domain: DOMAIN }));
}

/** A folder that is removed after the test. */
export async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'xylem-registry-'));
  // A registry that is killed after this may still be writing its credentials there.
  t.after(() => rm(path, { recursive: true, force: true, maxRetries: 10 }));
  return path;
}

export async function etcdStore(t: TestContext): Promise<StoreSettings> {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  return { kind: 'etcd', endpoints: [etcd.endpoint] };
}

export async function embedded(t: TestContext): Promise<RegistrySettings['store']> {
  return { kind: 'embedded', dataDir: await folder(t), listen: '127.0.0.1:0' };
}

export type StoreSettings = RegistrySettings['store'];

/** Where the first replica keeps its records, and how others reach the same store. */
export interface StoreKind {
  readonly name: string;
  open(t: TestContext): Promise<StoreSettings>;
}

/** Every promise holds on both. */
export const STORES: readonly StoreKind[] = [
  { name: 'embedded store', open: embedded },
  { name: 'etcd', open: etcdStore },
];

/** Settings of a further replica on the store of this one. */
export function sameStore(first: RunningRegistry): StoreSettings {
  return { kind: 'etcd', endpoints: [...first.storeEndpoints] };
}

function settings(id: string, store: RegistrySettings['store']): RegistrySettings {
  return {
    domain: DOMAIN,
    tls: { ca: '', cert: '', key: '' },
    ops: { listen: '127.0.0.1:0' },
    log: { level: 'debug' },
    audit: { required: false },
    telemetry: {},
    authority: { certificateTtlMs: HOUR_MS, userTtlMs: 12 * HOUR_MS },
    enrol: { listen: '127.0.0.1:0' },
    grants: { offlineMs: 900_000, requireSigned: false },
    id,
    listen: '127.0.0.1:0',
    store,
    leaseTtlMs: 10_000,
    heartbeatIntervalMs: 2_500,
  };
}
