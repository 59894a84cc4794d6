/** What a person sees of `npm start`, and that nothing of it stays behind. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const LIMIT = { timeout: 120_000 };
const DEADLINE_MS = 60_000;
const directory = mkdtempSync(join(tmpdir(), 'xylem-demo-e2e-'));
after(() => rmSync(directory, { recursive: true, force: true }));

type Running = ChildProcessByStdio<null, Readable, Readable>;

/** The demo, and everything it has printed so far. */
class Demo {
  readonly process: Running;
  text = '';

  constructor(folder: string) {
    this.process = spawn(process.execPath, [MAIN, '--dir', folder], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.on('data', (chunk: Buffer) => (this.text += chunk.toString()));
    }
  }

  async prints(pattern: RegExp): Promise<string> {
    const deadline = performance.now() + DEADLINE_MS;
    for (;;) {
      const [found] = pattern.exec(this.text) ?? [];
      if (found !== undefined) return found;
      assert.ok(
        performance.now() < deadline && this.process.exitCode === null,
        `${String(pattern)} was not printed:\n${this.text}`,
      );
      await delay(50);
    }
  }
}

/** Processes whose command line names the folder; those that ended but were not collected yet have none. */
function processesOf(folder: string): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => Number(pid) !== process.pid && commandLine(pid).includes(folder));
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // it has ended meanwhile
  }
}

async function nothingLeft(folder: string): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (processesOf(folder).length > 0) {
    assert.ok(performance.now() < deadline, `still running: ${processesOf(folder).join(' ')}`);
    await delay(50);
  }
}

test(
  'shows the full mesh and what to type, starts a killed root proxy again, and ends everything when asked',
  LIMIT,
  async () => {
    const folder = join(directory, 'asked');
    const demo = new Demo(folder);
    await demo.prints(/every live root proxy is claimed by every leaf cluster/);
    await demo.prints(/curl -p -x http:\/\/127\.0\.0\.1:\d+ http:\/\/web\.berlin\//);
    const [, pid = ''] = /kill -9 (\d+)/.exec(await demo.prints(/kill -9 \d+/)) ?? [];
    process.kill(Number(pid), 'SIGKILL');
    await demo.prints(/p\d ended by SIGKILL\n/);
    await demo.prints(/p\d started again, ready after/);
    demo.process.kill('SIGTERM');
    await once(demo.process, 'close');
    assert.equal(demo.process.exitCode, 0);
    assert.deepEqual(processesOf(folder), []);
  },
);

test('leaves nothing behind when it is killed', LIMIT, async () => {
  const folder = join(directory, 'killed');
  const demo = new Demo(folder);
  await demo.prints(/Type in another terminal/);
  assert.ok(processesOf(folder).length > 5);
  demo.process.kill('SIGKILL');
  await once(demo.process, 'close');
  await nothingLeft(folder);
});

test('refuses a folder that another demo uses, and ends in order while it is still starting', LIMIT, async () => {
  const folder = join(directory, 'shared');
  const first = new Demo(folder);
  await first.prints(/Ready:/);
  const second = new Demo(folder);
  await once(second.process, 'close');
  assert.match(
    second.text,
    /shared is in use by the demo with process id \d+; end that one, or give --dir another folder\n$/,
  );
  assert.equal(second.process.exitCode, 1);
  first.process.kill('SIGINT');
  await once(first.process, 'close');
  await nothingLeft(folder);
});
