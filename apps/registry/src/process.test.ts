import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { createAuthority } from '@xylem/identity';
import { folder } from './testing/world.ts';

const MAIN = join(import.meta.dirname, 'main.ts');

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

class Registry {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  #stdout = '';
  #stderr = '';
  readonly #waiting = new Set<() => void>();

  constructor(t: TestContext, args: readonly string[]) {
    const child = spawn(process.execPath, [MAIN, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] },
    });
    this.#child = child;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      for (const wake of [...this.#waiting]) wake();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    const { promise, resolve } = Promise.withResolvers<Ended>();
    child.on('close', (code) => {
      resolve({ code, stdout: this.#stdout, stderr: this.#stderr });
      for (const wake of [...this.#waiting]) wake();
    });
    this.ended = promise;
    t.after(() => child.kill('SIGKILL'));
  }

  /** The first log line of this event. */
  async logged(event: string): Promise<string> {
    for (;;) {
      const line = this.#stdout.split('\n').find((candidate) => candidate.includes(`"event":"${event}"`));
      if (line !== undefined) return line;
      assert.equal(this.#child.exitCode, null, `ended before ${event}: ${this.#stderr}`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      await promise;
      this.#waiting.delete(resolve);
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }
}

async function credentials(t: TestContext): Promise<readonly string[]> {
  const directory = await folder(t);
  const authority = await createAuthority({ domain: 'xylem.internal' });
  const issued = await authority.issue({ kind: 'registry', registry: 'r1' }, 3_600_000);
  const files = { ca: issued.ca, cert: issued.cert, key: issued.key.reveal() };
  await mkdir(directory, { recursive: true });
  const flags: string[] = [];
  for (const [name, text] of Object.entries(files)) {
    const path = join(directory, `${name}.pem`);
    await writeFile(path, text, { mode: 0o600 });
    flags.push(`--tls-${name}=${path}`);
  }
  return [...flags, '--id=r1', '--listen=127.0.0.1:0', '--ops-listen=127.0.0.1:0'];
}

test(
  'every mistake in the configuration is listed with its key, and the exit status is 2',
  { timeout: 30_000 },
  async (t) => {
    const registry = new Registry(t, [
      '--id',
      'R 1',
      '--listen',
      'nowhere',
      '--store-kind',
      'etcd',
      '--store-endpoints',
      'etcd:2379',
      '--lease-ttl-ms',
      '5',
      '--tls-cert',
      '/nowhere/cert.pem',
    ]);
    const { code, stdout, stderr } = await registry.ended;
    assert.deepEqual([code, stdout], [2, '']);
    for (const key of ['id', 'listen', 'store.endpoints', 'leaseTtlMs', 'tls.ca', 'tls.cert', 'tls.key']) {
      assert.match(stderr, new RegExp(`^.*${key.replace('.', '\\.')}.*$`, 'm'));
    }
    assert.match(stderr, /"etcd:2379" is not an etcd endpoint; write http:\/\/host:port or https:\/\/host:port/);
  },
);

test('serves with the embedded store until SIGTERM, then ends in order', { timeout: 30_000 }, async (t) => {
  const flags = await credentials(t);
  const registry = new Registry(t, [
    ...flags,
    '--store-kind=embedded',
    `--store-data-dir=${await folder(t)}`,
    '--store-listen=127.0.0.1:0',
  ]);
  await registry.logged('store.recovered');
  registry.signal('SIGTERM');
  const { code, stdout, stderr } = await registry.ended;
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /"event":"service.stopping"/);
});

test('a port that is taken is named with the remedy', { timeout: 30_000 }, async (t) => {
  const taken = createServer();
  const { promise, resolve } = Promise.withResolvers<void>();
  taken.listen(0, '127.0.0.1', resolve);
  await promise;
  t.after(() => taken.close());
  const address = taken.address();
  assert.ok(address !== null && typeof address === 'object');
  const flags = await credentials(t);
  const store = async (): Promise<readonly string[]> => [
    '--store-kind=embedded',
    `--store-data-dir=${await folder(t)}`,
  ];
  const own = new Registry(t, [
    ...flags,
    ...(await store()),
    '--store-listen=127.0.0.1:0',
    `--listen=127.0.0.1:${address.port}`,
  ]);
  const embedded = new Registry(t, [...flags, ...(await store()), `--store-listen=127.0.0.1:${address.port}`]);
  for (const { code, stderr } of [await own.ended, await embedded.ended]) {
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`^xylem-registry: .*127.0.0.1:${address.port}.*\n$`));
  }
});

test('a store file that cannot be used is named', { timeout: 30_000 }, async (t) => {
  const directory = await folder(t);
  const file = join(directory, 'file');
  await writeFile(file, 'not a folder');
  const flags = await credentials(t);
  const registry = new Registry(t, [
    ...flags,
    '--store-kind=embedded',
    `--store-data-dir=${file}`,
    '--store-listen=127.0.0.1:0',
  ]);
  const { code, stderr } = await registry.ended;
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`^xylem-registry: .*${file}.*\n$`));
});
