import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Service } from './service.ts';
import type { LogLine } from './service.ts';

const LIMIT = { timeout: 15_000 };
const GUARD = fileURLToPath(new URL('guard.ts', import.meta.url));
const SERVICE = new URL('service.ts', import.meta.url).href;

/** Whether a process runs; one that has ended but that nobody has collected yet does not. */
function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const [state] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1) ?? '';
  return state !== 'Z';
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, 'not within 10 s');
    await delay(10);
  }
}

describe('service', LIMIT, () => {
  const directory = mkdtempSync(join(tmpdir(), 'xylem-service-'));
  after(() => rmSync(directory, { recursive: true }));

  it('hands on log lines, keeps them in a file, and shows the last ones in a failure', async () => {
    const lines: LogLine[] = [];
    const script =
      'console.log(JSON.stringify({event:"claim.granted",level:"info",proxy:"p1",time:"t"})); console.error("oops"); process.exit(3)';
    const logFile = join(directory, 'a.log');
    const service = new Service(
      { name: 'a1', command: process.execPath, args: ['-e', script], env: {}, logFile },
      (line) => lines.push(line),
    );
    assert.deepEqual(await service.exited, { code: 3, signal: null });
    const [structured] = lines.filter(({ event }) => event !== '');
    assert.deepEqual(structured, { service: 'a1', event: 'claim.granted', level: 'info', fields: { proxy: 'p1' } });
    assert.match(service.failure('ended:').message, /^a1 ended:\n(?: {2}a1 \| .*\n)*? {2}a1 \| (?:oops|\{.*)$/);
    await until(() => readFileSync(logFile, 'utf8').includes('oops'));
  });

  it('tells when a program cannot be started', async () => {
    const logFile = join(directory, 'b.log');
    const service = new Service({ name: 'b', command: '/no/such/program', args: [], env: {}, logFile }, () => {});
    assert.deepEqual(await service.exited, { code: null, signal: null });
    assert.match(service.tail(), /b \| spawn \/no\/such\/program ENOENT/);
  });

  it('leaves no process behind when the one that started it is killed', async () => {
    const script = `import { Service } from ${JSON.stringify(SERVICE)};
      const args = [${JSON.stringify(GUARD)}, '/bin/sh', '-c', 'echo pid $$; exec sleep 60'];
      const spec = { name: 's', command: process.execPath, args, env: {}, logFile: ${JSON.stringify(join(directory, 'c.log'))} };
      const service = new Service(spec, (line) => console.log(service.pid, line.fields.text));`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [chunk]: unknown[] = await once(parent.stdout, 'data');
    const [, guard = 0, sleeper = 0] = (/^(\d+) pid (\d+)/.exec(String(chunk)) ?? []).map(Number);
    assert.ok(runs(guard) && runs(sleeper));
    parent.kill('SIGKILL');
    await until(() => !runs(guard) && !runs(sleeper));
  });
});
