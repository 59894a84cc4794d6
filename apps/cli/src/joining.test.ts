import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freeAddress } from '@xylem/testkit';

const BIN = fileURLToPath(new URL('../bin/xylem.js', import.meta.url));
const LIMIT = { timeout: 170_000 };
const TOKEN = /^xylem-join\.[\w-]{43}\.[\w-]{43}\n$/;

interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

describe('tokens, joining and identities', LIMIT, () => {
  const folder = mkdtempSync(join(tmpdir(), 'xylem-joining-'));
  let registry: ChildProcess;
  let ended: Promise<unknown>;
  let admin: readonly string[];
  let enrol: string;
  let log = '';

  const start = (args: readonly string[]): ChildProcess =>
    spawn(process.execPath, [BIN, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], HOME: folder },
    });
  const xylem = async (args: readonly string[], input = ''): Promise<Ended> => {
    const child = start(args);
    assert.ok(child.stdin !== null && child.stdout !== null && child.stderr !== null);
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    return { status: child.exitCode, out, err };
  };
  const administer = (...args: readonly string[]): Promise<Ended> => xylem([...args, ...admin]);
  const token = async (...flags: readonly string[]): Promise<string> =>
    (await administer('tokens', 'add', ...flags)).out;
  const joinProxy = (name: string, secret: string, ...more: readonly string[]): Promise<Ended> => {
    const flags = ['--token-file', '-', '--registry', enrol, '--name', name, '--identity-dir', join(folder, name)];
    return xylem(['root-proxy', 'join', ...flags, ...more], secret);
  };

  before(async () => {
    const [listen, ops, store] = [await freeAddress(), await freeAddress(), await freeAddress()];
    enrol = await freeAddress();
    admin = ['--admin-dir', join(folder, 'data', 'admin'), '--registry', listen];
    const config = {
      id: 'r1',
      listen,
      enrol: { listen: enrol },
      ops: { listen: ops },
      store: { kind: 'embedded', dataDir: join(folder, 'data'), listen: store },
    };
    const path = join(folder, 'registry.yaml');
    writeFileSync(path, JSON.stringify(config));
    registry = start(['registry', '--config', path, '--exit-on-stdin-end']);
    ended = once(registry, 'close');
    assert.ok(registry.stdout !== null && registry.stderr !== null);
    registry.stderr.pipe(process.stderr);
    for await (const line of createInterface({ input: registry.stdout })) {
      if (line.includes('"service.started"')) break;
    }
    registry.stdout.on('data', (chunk: Buffer) => (log += chunk.toString()));
  });
  after(async () => {
    registry.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });

  it('prints a token alone on standard output, and what it is for on standard error', async () => {
    const made = await administer(
      'tokens',
      'add',
      '--leaf',
      'berlin',
      '--name',
      'a1',
      '--ttl',
      '5m',
      '--source',
      '10.0.0.0/8',
    );
    assert.equal(made.status, 0, made.err);
    assert.match(made.out, TOKEN);
    assert.match(
      made.err,
      /^token [0-9a-f]{8} lets an agent of leaf cluster berlin named a1 join once, until 20.*xylem agent join --token-file -/,
    );
    assert.ok(!made.err.includes(made.out.split('.')[1] ?? ''));
    const listed = await administer('tokens', 'ls');
    assert.match(
      listed.out,
      /^TOKEN +ROLE +LEAF +NAME .*\n[0-9a-f]{8} +agent +berlin +a1 +[45] min +10\.0\.0\.0\/8 +user\/admin@r1\n$/,
    );
    const fingerprint = listed.out.split('\n')[1]?.slice(0, 8) ?? '';
    assert.match((await administer('tokens', 'ls', '--json')).out, new RegExp(`"fingerprint": "${fingerprint}"`));
    assert.equal((await administer('tokens', 'rm', fingerprint)).out, `token ${fingerprint} is gone\n`);
    assert.deepEqual(
      [(await administer('tokens', 'rm', fingerprint)).status, (await administer('tokens', 'ls')).out],
      [68, 'no tokens are waiting to be used\n'],
    );
  });

  it('joins once with a token, and says what to configure', async () => {
    const secret = await token('--role', 'proxy');
    const joined = await joinProxy('p1', secret);
    assert.deepEqual([joined.status, joined.err], [0, '']);
    assert.match(
      joined.out,
      /^joined xylem\.internal as proxy\/p1; certificate until 20.*\n\nid: p1\nidentity: \{ dir: ".*\/p1" \}\n$/,
    );
    const again = await joinProxy('p2', secret);
    assert.deepEqual([again.status, again.out], [77, '']);
    assert.match(again.err, /^xylem: .*token.*\n$/);
    assert.match((await administer('identities', 'ls')).out, /^proxy\/p1 +active +1 +ends in (?:59|60) min$/m);
  });

  it('gives a name that is in use only to a token that names it', async () => {
    const taken = await joinProxy('p1', await token('--role', 'proxy'));
    assert.equal(taken.status, 77, taken.out);
    assert.match(taken.err, /^xylem: .*--name/);
    assert.equal((await joinProxy('p1', await token('--role', 'proxy', '--name', 'p1'))).status, 0);
  });

  it('keeps the folder of another identity, and the token for another folder', async () => {
    const secret = await token('--role', 'proxy');
    const into = ['root-proxy', 'join', '--token-file', '-', '--registry', enrol, '--name', 'p8', '--identity-dir'];
    const refused = await xylem([...into, join(folder, 'p1')], secret);
    assert.equal(refused.status, 2);
    assert.match(refused.err, /p1 holds the identity of proxy\/p1; choose another folder with --identity-dir/);
    assert.equal((await xylem([...into, join(folder, 'p8')], secret)).status, 0);
  });

  it('sends a token to no other root cluster, and says which stage fails', async () => {
    const secret = await token('--role', 'proxy');
    const other = secret.replace(/[\w-]{43}\n$/, `${'A'.repeat(43)}\n`);
    const elsewhere = await joinProxy('p3', other);
    assert.equal(elsewhere.status, 69);
    assert.match(elsewhere.err, /another root certificate than the one that the token pins; make a new token/);
    const domain = await joinProxy('p3', secret, '--domain', 'other.internal');
    assert.match(domain.err, /no registry of other\.internal/);
    const nobody = await xylem(
      ['agent', 'join', '--token-file', '-', '--root', '127.0.0.1:1', '--agent', 'a1'],
      secret,
    );
    assert.deepEqual([nobody.status, nobody.err], [69, 'xylem: 127.0.0.1:1: connection refused\n']);
    assert.equal((await joinProxy('p3', secret)).status, 0);
  });

  it('refuses what cannot work before it asks anybody', async () => {
    for (const [args, input, words] of [
      [
        ['agent', 'join', '--token-file', '-', '--root', 'x:1'],
        'hunter2',
        /^xylem: standard input holds no join token/,
      ],
      [['agent', 'join', '--token-file', '-', '--root', 'x'], '', /"x" is not an address; write host:port/],
      [
        ['root-proxy', 'join', '--token-file', '-', '--registry', 'x:1', '--name', 'enrol'],
        '',
        /--name "enrol" is not a name/,
      ],
      [['tokens', 'add'], '', /add --leaf <name>/],
      [['tokens', 'add', '--role', 'proxy', '--name', 'join'], '', /--name "join" is a server name of the registries/],
      [['tokens', 'add', '--role', 'king'], '', /"king" is not a role; use agent, proxy or registry/],
      [['tokens', 'add', '--role', 'proxy', '--leaf', 'berlin'], '', /--leaf is for tokens of agents/],
      [['tokens', 'add', '--leaf', 'berlin', '--ttl', 'soon'], '', /"soon" is not a lifetime/],
      [['identities', 'revoke', 'berlin'], '', /"berlin" is not an identity; write leaf\/berlin\/agent\/a1/],
    ] as const) {
      const { status, out, err } = await xylem(args, input);
      assert.deepEqual([status, out], [2, ''], args.join(' '));
      assert.match(err, words);
      assert.ok(!err.includes('hunter2'));
    }
    assert.ok(!existsSync(join(folder, 'enrol')));
  });

  it('revokes and unlocks, and doctor says so', async () => {
    const revoked = await administer('identities', 'revoke', 'proxy/p3', '--reason', 'disk lost');
    assert.match(revoked.out, /^proxy\/p3 is revoked: .*xylem identities unlock proxy\/p3\n$/);
    const ill = await administer('doctor');
    assert.match(
      ill.out,
      /^ok +authority: one root is trusted and signs\nwarn +proxy\/p3: revoked: disk lost\nok +identities: \d+ of \d+ are/,
    );
    const refused = await joinProxy('p3', await token('--role', 'proxy', '--name', 'p3'));
    assert.equal(refused.status, 77, refused.out);
    const unlocked = await administer('identities', 'unlock', 'proxy/p3');
    assert.match(
      unlocked.out,
      /^proxy\/p3 may join again, with a token that names it: xylem tokens add --role proxy --name p3\n$/,
    );
    assert.equal((await administer('identities', 'unlock', 'proxy/p3')).status, 68);
    assert.equal((await joinProxy('p3', await token('--role', 'proxy', '--name', 'p3'))).status, 0);
  });

  it('shows the authority, and rotates it forwards and back', async () => {
    assert.match(
      (await administer('ca', 'status')).out,
      /^xylem\.internal: steady \(one root is trusted and signs\), generation 1\n\nROOT +STATE +ENDS IN\n[0-9a-f]{16} +active +36\d\d d\n\nnobody is behind/,
    );
    assert.match(
      (await administer('ca', 'rotate')).out,
      /^now prepared \(a second root is made\)\n.*\nthe next step lets everybody trust both\n$/,
    );
    assert.match((await administer('doctor')).out, /^warn +authority: a rotation stands at prepared/);
    assert.match((await administer('ca', 'rollback')).out, /^now steady /);
    const back = await administer('ca', 'rollback');
    assert.deepEqual([back.status, back.err], [2, 'xylem: no rotation is under way\n']);
  });

  it('says in plain words, with status 2, what a registry finds wrong with a request', async () => {
    for (const [args, words] of [
      [['tokens', 'add', '--leaf', 'berlin', '--ttl', '48h'], /^xylem: a token lives for at most 24 h; choose/],
      [
        ['tokens', 'add', '--leaf', 'berlin', '--source', '300.1.1.1'],
        /^xylem: source "300\.1\.1\.1" is no address range/,
      ],
      [['tokens', 'rm', 'zzz'], /^xylem: that is no fingerprint of a token/],
      [['policy', 'get', '--version-number', '99'], /^xylem: version 99 is not kept/],
      [['users', 'add', 'eve', '--no-password', '--password-file', '-'], /exclude each other/],
      [['tokens', 'ls', '--registry', 'foo'], /^xylem: --registry "foo" is not an address; write host:port/],
    ] as const) {
      const { status, out, err } = await administer(...args);
      assert.deepEqual([status, out], [2, ''], args.join(' '));
      assert.match(err, words);
    }
    assert.equal((await administer('users', 'add', 'eve', '--no-password')).status, 0);
    const listed: unknown = JSON.parse((await administer('users', 'ls', '--json')).out);
    const eve = { name: 'eve', groups: [], hasPassword: false, disabled: false, externalGroups: [], issuer: '' };
    assert.deepEqual(listed, { users: [eve] });
  });

  it('doctor looks at the identity of a service, and at where it renews', async () => {
    const args = ['doctor', '--root', '127.0.0.1:1', '--identity-dir', join(folder, 'p1')];
    const { out } = await xylem(args);
    assert.match(
      out,
      /^warn +identity: proxy p1 in .*\nok +validity: .*\nok +renewal: generation 2, \d % of its life over\nok +enrolment 127\.0\.0\.1:\d+: a registry answers\n/,
    );
  });

  it('says what to do without credentials of an administrator, or with those of somebody else', async () => {
    const none = await xylem(['tokens', 'ls', '--admin-dir', join(folder, 'none')]);
    assert.equal(none.status, 2);
    assert.match(
      none.err,
      /ca\.pem: cannot be read.*run this as the system user of the registry, or name its folder with --admin-dir/,
    );
    const proxy = await xylem(['tokens', 'ls', '--admin-dir', join(folder, 'p1'), ...admin.slice(2)]);
    assert.equal(proxy.status, 77);
    assert.match(
      proxy.err,
      /^xylem: the registry answered PERMISSION_DENIED: .*; the credentials are those of .*p1\n$/,
    );
  });

  it('a registry that was asked to stop says when it has stopped', async () => {
    registry.kill('SIGTERM');
    await ended;
    assert.equal(registry.exitCode, 0);
    assert.match(log, /"event":"service\.stopping"[^]*"event":"service\.stopped"[^\n]*\n$/);
  });
});
