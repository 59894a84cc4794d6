import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { StatusError } from '@xylem/grpc';
import { access } from '@xylem/wire';
import { StandInRootProxy } from './testing/root-proxy.ts';

const BIN = fileURLToPath(new URL('../bin/xylem.js', import.meta.url));
/** For the whole suite: some fifty processes, one after the other. */
const LIMIT = { timeout: 120_000 };
/** Starting a process on a busy machine takes seconds. */
const FIRST_TTL_MS = 6_000;

interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return address !== null && typeof address === 'object' ? address.port : 0;
}

describe('xylem', LIMIT, () => {
  const directory = mkdtempSync(join(tmpdir(), 'xylem-cli-'));
  let proxy: StandInRootProxy;
  let user: string;
  const servers: Server[] = [];

  const start = (args: readonly string[], env: NodeJS.ProcessEnv = {}) => {
    const clean = { PATH: process.env['PATH'], HOME: directory, ...env };
    return spawn(process.execPath, [BIN, ...args], { stdio: ['pipe', 'pipe', 'pipe'], env: clean });
  };
  const run = async (args: readonly string[], input = '', env: NodeJS.ProcessEnv = {}): Promise<Ended> => {
    const child = start(args, env);
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    return { status: child.exitCode, out, err };
  };
  const settings = (): string[] => ['--root', proxy.address, '--identity-dir', user];
  const node = async (name: string, serve: (socket: Socket) => void): Promise<void> => {
    const server = createServer({ allowHalfOpen: true }, serve);
    servers.push(server);
    proxy.answers.set(name, { port: await listen(server) });
  };

  before(async () => {
    proxy = await StandInRootProxy.start();
    user = await proxy.identity(directory, { kind: 'user', user: 'ann' });
  });
  after(async () => {
    await proxy.close();
    for (const server of servers) server.close();
    rmSync(directory, { recursive: true });
  });

  it('connect carries standard input to the node and what comes back to standard output, byte for byte', async () => {
    await node('echo.berlin', (socket) => socket.pipe(socket));
    const child = start([...settings(), 'connect', 'echo.berlin:7']);
    const sent = Buffer.alloc(5_000_000, 'xylem');
    child.stdin.end(sent);
    const [received, err] = await Promise.all([buffer(child.stdout), text(child.stderr), once(child, 'close')]);
    assert.ok(received.equals(sent));
    assert.equal(err, '');
    assert.equal(child.exitCode, 0);
  });

  it('connect keeps half-closes: an answer arrives after standard input has ended', async () => {
    await node('ask.berlin', (socket) => {
      void text(socket).then((question) => socket.end(`answer to ${question}`));
    });
    assert.deepEqual(await run([...settings(), 'connect', 'ask.berlin'], 'why'), {
      status: 0,
      out: 'answer to why',
      err: '',
    });
  });

  it('connect keeps half-closes: standard output ends while standard input goes on', async () => {
    const { promise: heard, resolve } = Promise.withResolvers<string>();
    await node('tell.berlin', (socket) => {
      socket.end('banner');
      void text(socket).then(resolve);
    });
    const child = start([...settings(), 'connect', 'tell.berlin']);
    assert.equal(await text(child.stdout), 'banner');
    assert.equal(child.exitCode, null);
    child.stdin.end('after the end of output');
    assert.equal(await heard, 'after the end of output');
    await once(child, 'close');
    assert.equal(child.exitCode, 0);
  });

  it('connect works when standard output is a file', async () => {
    await node('file.berlin', (socket) => socket.end('to a file'));
    const shell = spawn(
      '/bin/sh',
      [
        '-c',
        '"$0" "$@" > out.txt < /dev/null && cat out.txt',
        process.execPath,
        BIN,
        ...settings(),
        'connect',
        'file.berlin',
      ],
      {
        cwd: directory,
        env: { HOME: directory },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    assert.equal(await text(shell.stdout), 'to a file');
  });

  it('connect reports a reset with status 1 and the reason, never a clean end', async () => {
    await node('reset.berlin', (socket) => {
      socket.on('error', () => {});
      socket.write('part', () => setImmediate(() => socket.resetAndDestroy()));
    });
    const { status, err } = await run([...settings(), 'connect', 'reset.berlin:1']);
    assert.equal(status, 1);
    assert.match(err, /^xylem: connection to reset\.berlin:1 was reset \(peer-reset\).*\n$/);
  });

  it('connect lasts beyond the certificate it began with, when a newer one is put in its place', async () => {
    const strict = await StandInRootProxy.start({ graceMs: 300, lastWordsMs: 100 });
    const folder = await strict.identity(directory, { kind: 'user', user: 'bea' }, FIRST_TTL_MS);
    const end = Date.now() + FIRST_TTL_MS + 1_000;
    const server = createServer((socket) => socket.pipe(socket));
    servers.push(server);
    strict.answers.set('echo.berlin', { port: await listen(server) });
    const child = start(['--root', strict.address, '--identity-dir', folder, 'connect', 'echo.berlin:7']);
    child.stdin.write('one');
    const failed = text(child.stderr).then((err) => (err === '' ? undefined : assert.fail(err)));
    await Promise.race([once(child.stdout, 'data'), failed]);
    await strict.identity(directory, { kind: 'user', user: 'bea' });
    while (Date.now() < end + 500) {
      child.stdin.write('more');
      await Promise.race([once(child.stdout, 'data'), failed]);
      await sleep(100);
    }
    child.stdin.end();
    await once(child, 'close');
    assert.equal(child.exitCode, 0);
    await strict.close();
  });

  it('connect says why the root proxy ended the connection', async () => {
    await node('cut.berlin', (socket) => {
      socket.on('error', () => {});
      socket.write('part');
    });
    const child = start([...settings(), 'connect', 'cut.berlin:1']);
    child.stdin.on('error', () => {});
    const err = text(child.stderr);
    await once(child.stdout, 'data');
    proxy.cut('user/ann was revoked: key lost');
    await once(child, 'close');
    assert.equal(child.exitCode, 1);
    assert.match(await err, /^xylem: connection to cut\.berlin:1 was reset .*user\/ann was revoked: key lost.*\n$/);
  });

  it('connect ended by a signal, as ssh does, tells the far end and prints nothing', async () => {
    const { promise: ended, resolve } = Promise.withResolvers<string>();
    await node('shell.berlin', (socket) => {
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
      socket.write('prompt');
    });
    const child = start([...settings(), 'connect', 'shell.berlin']);
    await once(child.stdout, 'data');
    const err = text(child.stderr);
    child.kill('SIGHUP');
    await once(child, 'close');
    assert.deepEqual([child.exitCode, await err, await ended], [129, '', 'ECONNRESET']);
  });

  it('connect gives each outcome a status of its own and one line on standard error', async () => {
    for (const [outcome, status, words] of [
      ['refused', 69, /refused the connection: port 81/],
      ['denied', 77, /may not be dialled/],
      ['timed-out', 75, /did not answer in time/],
      ['no-such-leaf', 68, /belongs to no known leaf cluster: .*; see: xylem ls\n$/],
      ['leaf-offline', 69, /no agent of its leaf cluster is attached/],
    ] as const) {
      proxy.answers.set('web.berlin', { outcome, detail: 'port 81\u001b[2J' });
      const ended = await run([...settings(), 'connect', 'web.berlin:81']);
      assert.deepEqual([ended.status, ended.out], [status, '']);
      assert.match(ended.err, words);
      assert.match(ended.err, /^xylem: [\x20-\x7e]*\n$/);
    }
    assert.equal((await run([...settings(), 'connect', 'ghost.berlin'])).status, 68);
  });

  it('says which stage failed when no root proxy can be reached', async () => {
    const closed = await run(['--root', '127.0.0.1:1', '--identity-dir', user, 'status']);
    assert.deepEqual([closed.status, closed.out], [69, '']);
    assert.match(
      closed.err,
      /^xylem: cannot connect to 127\.0\.0\.1:1: connection refused.*\(tcp\); try: xylem doctor\n$/,
    );
    const wrongName = await run([...settings(), '--domain', 'other.internal', 'status']);
    assert.equal(wrongName.status, 69);
    assert.match(
      wrongName.err,
      /: the server is xylem\.internal\/proxy\/\w+, not other\.internal; are port and domain right\? \(tls\)/,
    );
  });

  it('says in one line what it met at a port of something else, without the words of OpenSSL', async () => {
    const sshd = createServer((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'));
    const closing = createServer((socket) => socket.destroy());
    servers.push(sshd, closing);
    const [talks, closes] = [await listen(sshd), await listen(closing)];
    const token = `xylem-join.${'A'.repeat(43)}.${'B'.repeat(43)}`;
    const joining = [
      'agent',
      'join',
      '--token-file',
      '-',
      '--agent',
      'a1',
      '--identity-dir',
      `${directory}/a1`,
      '--root',
    ];
    const cases = [
      [
        ['--root', `127.0.0.1:${talks}`, '--identity-dir', user, 'status'],
        '',
        /the server speaks no TLS; is the port right\? \(tls\)/,
      ],
      [
        ['--root', `127.0.0.1:${closes}`, '--identity-dir', user, 'status'],
        '',
        /the server closed the connection \(tls\)/,
      ],
      [[...joining, `127.0.0.1:${talks}`], token, /it speaks no TLS; agents and users come to port 7200/],
      [
        [...joining, `127.0.0.1:${closes}`],
        token,
        /the connection was closed.*; a root proxy does that while it reaches no registry/,
      ],
      [[...joining, proxy.address], token, /nobody enrols there: the port is another one's/],
      [['login', '--user', 'ann', '--root', proxy.address], '', /nobody enrols there: the port is another one's/],
    ] as const;
    for (const [args, input, words] of cases) {
      const { status, out, err } = await run(args, input);
      assert.deepEqual([status, out], [69, ''], args.join(' '));
      assert.match(err, words);
      assert.match(err, /^xylem: .*\n$/);
      assert.doesNotMatch(err, /SSL|openssl|altnames|0A000/);
    }
  });

  it('says in one line that its output could not be written', async () => {
    const full = spawn('/bin/sh', ['-c', '"$0" "$@" > /dev/full', process.execPath, BIN, ...settings(), 'ls'], {
      stdio: ['ignore', 'inherit', 'pipe'],
      env: { PATH: process.env['PATH'], HOME: directory },
    });
    const [err] = await Promise.all([text(full.stderr), once(full, 'close')]);
    assert.deepEqual([full.exitCode, err], [1, 'xylem: standard output cannot be written: no space is left\n']);
  });

  it('names a file that cannot be read, without the words of the system', async () => {
    for (const [path, words] of [
      [join(directory, 'none'), 'none cannot be read: no such file'],
      [directory, `${directory} cannot be read: it is a folder`],
    ] as const) {
      for (const args of [
        ['audit', 'verify', path],
        ['policy', 'set', path],
        ['policy', 'diff', path],
      ]) {
        const { status, err } = await run(args);
        assert.equal(status, 2, args.join(' '));
        assert.ok(err.endsWith(`${words}\n`) && err.startsWith('xylem: '), err);
      }
    }
    writeFileSync(join(directory, 'latin1'), Buffer.from([0xff, 0xfe]));
    assert.match(
      (await run(['policy', 'set', join(directory, 'latin1')])).err,
      /latin1 cannot be read: it is not UTF-8 text\n$/,
    );
  });

  it('refuses addresses, flags and settings that are wrong, with status 2 and the remedy', async () => {
    const cases = [
      [['connect', 'web'], /it must have two; write <node>\.<leaf>:<port>/],
      [['connect', 'web.berlin:0'], /is not a port: 1 to 65535/],
      [['statsu'], /^xylem: unknown command 'statsu'\n\(Did you mean status\?\)\n+Try: xylem --help\n$/],
      [['status', '--josn'], /unknown option '--josn'/],
      [['status', '--timeout-ms', 'soon'], /timeoutMs {2}must be a number, not "soon" \(--timeout-ms\)/],
    ] as const;
    for (const [args, words] of cases) {
      const { status, out, err } = await run([...settings(), ...args]);
      assert.deepEqual([status, out], [2, ''], args.join(' '));
      assert.match(err, words);
    }
    assert.match(
      (await run(['status'])).err,
      /root {2}is missing; set root in the file, XYLEM_ROOT or --root[^]*client\.yaml yet: xylem login writes it\.\n$/,
    );
    assert.match(
      (await run(['status', '--root', proxy.address])).err,
      /ca\.pem: cannot be read: no such file.*log in \(xylem login\), or .*--identity-dir/,
    );
  });

  it('takes settings from client.yaml and the environment', async () => {
    mkdirSync(join(directory, '.config/xylem'), { recursive: true });
    writeFileSync(join(directory, '.config/xylem/client.yaml'), `root: ["${proxy.address}"]\n`);
    assert.equal((await run(['status'], '', { XYLEM_IDENTITY_DIR: user })).status, 0);
    rmSync(join(directory, '.config'), { recursive: true });
  });

  it('status shows the matrix, or the same as JSON', async () => {
    proxy.status = {
      ...access.GetStatusResponse.fromPartial({
        answeredBy: 'p1',
        registryConnected: true,
        stamp: { epoch: 2n, revision: 2n ** 60n },
      }),
      proxies: [
        {
          ...access.ProxyStatus.fromPartial({ proxy: { id: 'p1', incarnation: 5n, state: 1 }, answered: true }),
          tunnels: [
            { ...access.TunnelStatus.fromPartial({}), leaf: 'berlin', agent: 'a1\u001b[31m', state: 'claimed' },
          ],
        },
      ],
    };
    const shown = await run([...settings(), 'status']);
    assert.equal(shown.status, 0);
    assert.match(shown.out, /^p1 answers: registry connected, membership of epoch 2, revision 1152921504606846976\n/);
    assert.match(shown.out, /a1\\u\{1b\}\[31m {2}claimed {2}0\n/);
    assert.match(shown.out, /every live root proxy is claimed by every leaf cluster\n$/);
    const json: unknown = JSON.parse((await run([...settings(), 'status', '--json'])).out);
    assert.ok(typeof json === 'object' && json !== null && 'complete' in json && 'stamp' in json);
    assert.deepEqual([json.complete, json.stamp], [true, { epoch: '2', revision: '1152921504606846976' }]);
  });

  it('says what to do when the root proxy refuses, or serves something else on that port', async () => {
    proxy.refusal = new StatusError(7, 'agent berlin/a1 may not call');
    const denied = await run([...settings(), 'status']);
    assert.equal(denied.status, 77);
    assert.match(
      denied.err,
      /^xylem: the root proxy answered PERMISSION_DENIED: .*; only users are served here: xylem login\n$/,
    );
    proxy.refusal = new StatusError(12, 'no such method');
    const elsewhere = await run([...settings(), 'doctor']);
    proxy.refusal = undefined;
    assert.equal(elsewhere.status, 1);
    assert.match(
      elsewhere.out,
      /connected, but it serves something else there; users are served on another port \(access\.listen, 7202\)\n$/,
    );
  });

  it('ls shows one line per node', async () => {
    proxy.nodes = access.ListNodesResponse.fromPartial({
      leaves: [
        { leaf: 'tokyo', nodes: [{ name: 'db', ports: [5432] }] },
        { leaf: 'berlin', nodes: [{ name: 'web', ports: [22, 80] }] },
      ],
    });
    assert.equal((await run([...settings(), 'ls'])).out, 'NODE        PORTS\ndb.tokyo    5432\nweb.berlin  22 80\n');
    proxy.nodes = access.ListNodesResponse.fromPartial({});
    assert.match((await run([...settings(), 'ls', 'berlin'])).out, /^no nodes in berlin: /);
    assert.match((await run([...settings(), 'ls'])).out, /^no nodes: /);
  });

  it('doctor says what is right and what to mend', async () => {
    const well = await run([...settings(), 'doctor']);
    assert.equal(well.status, 0, well.out + well.err);
    assert.match(
      well.out,
      /^ok {4}identity: user ann in .*\nok {4}validity: \d+ min left, .*\nok {4}root 127\.0\.0\.1:\d+: p1 answers/,
    );
    const agent = await proxy.identity(directory, { kind: 'agent', leaf: 'berlin', agent: 'a1' });
    const ill = await run(['doctor', '--root', `127.0.0.1:1,${proxy.address}`, '--identity-dir', agent]);
    assert.equal(ill.status, 1);
    assert.match(ill.out, /warn {2}identity: agent berlin\/a1 .*root proxies serve users only\n/);
    assert.match(ill.out, /fail {2}root 127\.0\.0\.1:1: tcp: connection refused; is the server running there\?\n/);
    assert.match(ill.err, /^xylem: 1 of the checks failed\n$/);
    assert.match(
      (await run(['doctor', '--root', proxy.address, '--identity-dir', directory])).out,
      /^fail {2}identity: .*ca\.pem: cannot be read/,
    );
  });
});
