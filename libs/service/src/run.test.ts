import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import type { Readable, Writable } from 'node:stream';

const RUN = JSON.stringify(new URL('./run.ts', import.meta.url).href);

interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

class Program {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #ended: Promise<Ended>;
  #out = '';

  /** `body` is the text of the options after `name`. */
  constructor(body: string, prelude = '') {
    const script = `import { OperatingError, runService } from ${RUN};
      const loaded = { kind: 'loaded', config: { n: 1 }, exitOnStdinEnd: true };
      const up = (stop) => async () => { console.log('up'); setInterval(() => {}, 1000); return { stop }; };
      ${prelude}
      await runService({ name: 'xylem-test', load: () => loaded, ${body} });`;
    this.child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'pipe'] });
    let err = '';
    this.child.stdout.on('data', (chunk: Buffer) => (this.#out += chunk.toString()));
    this.child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    this.#ended = once(this.child, 'close').then(() => ({ status: this.child.exitCode, out: this.#out, err }));
  }

  async printed(text: string): Promise<void> {
    while (!this.#out.includes(text)) await once(this.child.stdout, 'data', { signal: AbortSignal.timeout(10_000) });
  }

  ended(): Promise<Ended> {
    return this.#ended;
  }
}

describe('runService', () => {
  it('stops in order at the first signal and exits 0', async () => {
    const program = new Program("start: up(async () => console.log('stopped'))");
    await program.printed('up');
    program.child.kill('SIGTERM');
    assert.deepEqual(await program.ended(), { status: 0, out: 'up\nstopped\n', err: '' });
  });

  it('ends at once at the second signal', async () => {
    const program = new Program("start: up(() => { console.log('stopping'); return new Promise(() => {}); })");
    await program.printed('up');
    program.child.kill('SIGINT');
    await program.printed('stopping');
    program.child.kill('SIGINT');
    assert.equal((await program.ended()).status, 130);
  });

  it('ends with status 1 when stopping takes longer than its deadline', async () => {
    const program = new Program('start: up(() => new Promise(() => {})), stopDeadlineMs: () => 30');
    await program.printed('up');
    program.child.kill('SIGTERM');
    assert.deepEqual(await program.ended(), { status: 1, out: 'up\n', err: 'xylem-test: did not stop within 30 ms\n' });
  });

  it('stops when standard input ends, for a process started by another', async () => {
    const program = new Program("start: up(async () => console.log('stopped'))");
    await program.printed('up');
    program.child.stdin.end();
    assert.deepEqual(await program.ended(), { status: 0, out: 'up\nstopped\n', err: '' });
  });

  it('reports a failed start that is the fault of a file with status 2', async () => {
    const program = new Program(
      "start: async () => { throw new RangeError('key.pem: is empty'); }, isConfiguration: (error) => error instanceof RangeError",
    );
    assert.deepEqual(await program.ended(), { status: 2, out: '', err: 'xylem-test: key.pem: is empty\n' });
  });

  it('reports a failed start in one line with status 1', async () => {
    const program = new Program(
      "start: async () => { throw new OperatingError('listen: 127.0.0.1:1 is taken\\n\\u001b[2J'); }",
    );
    const line = 'xylem-test: listen: 127.0.0.1:1 is taken\\u{a}\\u{1b}[2J\n';
    assert.deepEqual(await program.ended(), { status: 1, out: '', err: line });
  });

  it('reports the failure of a running service', async () => {
    const program = new Program(
      "start: async () => ({ stop: async () => {}, failed: Promise.resolve(new OperatingError('store lost')) })",
    );
    assert.deepEqual(await program.ended(), { status: 1, out: '', err: 'xylem-test: store lost\n' });
  });

  it('exits 2 with the problems of the configuration, and 0 after --help', async () => {
    const invalid = new Program('start: up()', "Object.assign(loaded, { kind: 'invalid', text: 'two problems\\n' });");
    assert.deepEqual(await invalid.ended(), { status: 2, out: '', err: 'two problems\n' });
    const shown = new Program('start: up()', "Object.assign(loaded, { kind: 'shown', text: 'help\\n' });");
    assert.deepEqual(await shown.ended(), { status: 0, out: 'help\n', err: '' });
  });

  it('logs an uncaught error as one JSON line and exits 70', async () => {
    for (const bug of ["setTimeout(() => { throw new Error('boom'); })", "Promise.reject(new Error('boom'))"]) {
      const ended = await new Program(`start: async () => { ${bug}; return { stop: async () => {} }; }`).ended();
      assert.equal(ended.status, 70);
      const line: unknown = JSON.parse(ended.err);
      assert.ok(typeof line === 'object' && line !== null && 'error' in line && 'level' in line);
      assert.deepEqual([line.error, line.level], ['boom', 'fatal']);
    }
  });
});
