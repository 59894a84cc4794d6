import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createAuthority, memoryTlsSource } from '@xylem/identity';
import type { Authority, Identity, TlsSource } from '@xylem/identity';
import { startTelemetry } from '@xylem/telemetry';
import { start } from '../compose.ts';
import type { Ports, RunningRegistry } from '../compose.ts';
import type { RegistrySettings } from '../config.ts';

export const DOMAIN = 'xylem.internal';
const HOUR_MS = 3_600_000;

/** One certificate authority and what it has issued. */
export class World {
  readonly #authority: Authority;

  constructor(authority: Authority) {
    this.#authority = authority;
  }

  async tls(identity: Identity): Promise<TlsSource> {
    const issued = await this.#authority.issue(identity, HOUR_MS);
    return memoryTlsSource({ ca: issued.ca, cert: issued.cert, key: issued.key.reveal() });
  }

  /** A registry on free ports, stopped after the test. */
  async registry(t: TestContext, id: string, store: RegistrySettings['store'], ports: Ports = {}): Promise<RunningRegistry> {
    const tls = await this.tls({ kind: 'registry', registry: id });
    const lines: string[] = [];
    const telemetry = startTelemetry({
      service: 'registry',
      instance: id,
      version: 'test',
      logLevel: 'debug',
      logDestination: { write: (line) => void lines.push(line) },
    });
    const running = await start(settings(id, store), { tls, telemetry, ...ports });
    t.after(async () => {
      await running.kill();
      if (process.env['XYLEM_TEST_LOGS'] !== undefined) process.stderr.write(lines.join(''));
    });
    return running;
  }
}

export async function makeWorld(): Promise<World> {
  return new World(await createAuthority({ domain: DOMAIN }));
}

/** A folder that is removed after the test. */
export async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'xylem-registry-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

export async function embedded(t: TestContext): Promise<RegistrySettings['store']> {
  return { kind: 'embedded', dataDir: await folder(t), listen: '127.0.0.1:0' };
}

function settings(id: string, store: RegistrySettings['store']): RegistrySettings {
  return {
    domain: DOMAIN,
    tls: { ca: '', cert: '', key: '' },
    ops: { listen: '127.0.0.1:0' },
    log: { level: 'debug' },
    telemetry: {},
    id,
    listen: '127.0.0.1:0',
    store,
    leaseTtlMs: 10_000,
    heartbeatIntervalMs: 2_500,
  };
}
