import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { StatementVerifier } from '@xylem/identity';
import { freeAddress } from '@xylem/testkit';
import { LocalProvider, browse } from './testing/sign-on.ts';

const BIN = fileURLToPath(new URL('../bin/xylem.js', import.meta.url));
const LIMIT = { timeout: 170_000 };
const POLICY = `admins: [alice]
rules:
  - name: databases
    allow: [group:dba]
    leaves: [berlin]
    nodes: ['db-*:5432']
`;

interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

describe('users, the policy and logins', LIMIT, () => {
  const folder = mkdtempSync(join(tmpdir(), 'xylem-users-'));
  const home = join(folder, 'home');
  let provider: LocalProvider;
  let registry: ChildProcess;
  let admin: readonly string[];
  let enrol: string;
  let pin = '';

  const start = (args: readonly string[]): ChildProcess =>
    spawn(process.execPath, [BIN, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], HOME: home },
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
  const file = (name: string, content: string): string => {
    const path = join(folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };

  before(async () => {
    provider = await LocalProvider.start(['ops', 'dba']);
    const [listen, ops] = [await freeAddress(), await freeAddress()];
    enrol = await freeAddress();
    admin = ['--admin-dir', join(folder, 'data', 'admin'), '--registry', listen];
    const config = {
      id: 'r1',
      listen,
      enrol: { listen: enrol },
      ops: { listen: ops },
      store: { kind: 'embedded', dataDir: join(folder, 'data'), listen: await freeAddress() },
      oidc: {
        issuer: provider.issuer,
        clientId: 'xylem',
        groupsClaim: 'groups',
        scopes: ['openid', 'email', 'groups'],
      },
    };
    registry = start(['registry', '--config', file('registry.yaml', JSON.stringify(config))]);
    assert.ok(registry.stdout !== null && registry.stderr !== null);
    registry.stderr.pipe(process.stderr);
    for await (const line of createInterface(registry.stdout)) if (line.includes('service.started')) break;
    registry.stdout.resume();
  });
  after(async () => {
    registry.kill('SIGKILL');
    await once(registry, 'close');
    provider.close();
    rmSync(folder, { recursive: true });
  });

  it('a user is added with a password from a file, listed, and the pin is told', async () => {
    const password = file('password', 'correct horse\n');
    const added = await administer('users', 'add', 'alice', '--group', 'web', '--password-file', password);
    assert.equal(added.status, 0, added.err);
    pin = /--pin (sha256:[0-9a-f]{64})/.exec(added.out)?.[1] ?? '';
    assert.notEqual(pin, '', added.out);
    const again = await administer('users', 'add', 'alice', '--no-password');
    assert.match(again.err, /alice is there already; replace it or choose another name/);
    const listed = await administer('users', 'ls');
    assert.match(listed.out, /alice +active +web +password/);
    const asked = await administer('users', 'add', 'bob');
    assert.equal(asked.status, 2);
    assert.match(asked.err, /nobody is there to ask for the password; add --password-file or --no-password/);
  });

  it('a policy is checked, set, shown, compared and kept', async () => {
    const wrong = await administer('policy', 'set', file('wrong.yaml', 'rules:\n  - {name: a, nodes: [x.y]}\n'));
    assert.equal(wrong.status, 2);
    assert.match(wrong.err, /line 2, column 5: rules\[1\]: there is no "leaves"/);
    assert.match(wrong.err, /"x\.y" names a leaf cluster/);
    const checked = await administer('policy', 'set', '--check', file('policy.yaml', POLICY));
    assert.match(
      checked.out,
      /warning: rule databases: group dba is not listed under groups[^\n]*\nthe policy is valid/,
    );
    assert.match((await administer('policy', 'get')).out, /no policy was set yet/);
    const set = await administer('policy', 'set', join(folder, 'policy.yaml'));
    assert.match(set.out, /version 1 of the policy is in force/);
    const got = await administer('policy', 'get');
    assert.equal(got.out.split('\n').slice(1).join('\n'), POLICY);
    assert.match(got.out, /^# xylem policy version 1:/);
    const changed = file('changed.yaml', got.out.replace('5432', '5433'));
    const difference = await administer('policy', 'diff', changed);
    assert.equal(difference.status, 1);
    assert.match(difference.out, /^-    nodes: \['db-\*:5432'\]\n\+    nodes: \['db-\*:5433'\]$/m);
    assert.equal((await administer('policy', 'diff', join(folder, 'policy.yaml'))).status, 0);
    assert.match((await administer('policy', 'set', changed)).out, /version 2/);
    const stale = await administer('policy', 'set', changed);
    assert.equal(stale.status, 1);
    assert.match(stale.err, /version 1 is not in force any more, version 2 is; get it, and change that/);
    assert.match((await administer('policy', 'set', '--expect', '2', join(folder, 'policy.yaml'))).out, /version 3/);
    const history = await administer('policy', 'history');
    assert.match(history.out, /3 .* user\/admin@r1 +in force\n2 .*\n1 /);
    assert.match((await administer('policy', 'get', '--version-number', '2')).out, /5433/);
  });

  it('a decision is explained, and is the exit status', async () => {
    const denied = await administer('policy', 'check', 'alice', 'db-1.berlin:5432');
    assert.equal(denied.status, 77);
    assert.match(
      denied.out,
      /^denied: rule databases allows db-1\.berlin:5432, but only to group:dba, not to alice \(web\)/,
    );
    const allowed = await administer('policy', 'check', 'alice', 'db-1.berlin:5432', '--group', 'dba');
    assert.equal(allowed.status, 0);
    assert.match(allowed.out, /^allowed: rule databases allows group:dba to reach db-1\.berlin:5432/);
    const json = await administer('policy', 'check', 'anonymous', 'db-1.berlin', '--json');
    assert.equal(json.status, 77);
    assert.deepEqual(JSON.parse(json.out).port, 22);
  });

  it('a login with a password leaves what the other commands need', async () => {
    const login = ['login', '--root', enrol, '--user', 'alice'];
    const unpinned = await xylem([...login, '--password-file', join(folder, 'password')]);
    assert.equal(unpinned.status, 2);
    assert.match(unpinned.err, /nothing says which root cluster is the right one; add --pin/);
    const other = await xylem(
      [...login, '--password-file', '-', '--pin', `sha256:${'0'.repeat(64)}`],
      'correct horse\n',
    );
    assert.equal(other.status, 69);
    assert.match(other.err, /another root certificate/);
    const wrong = await xylem([...login, '--password-file', '-', '--pin', pin], 'wrong horse\n');
    assert.equal(wrong.status, 77);
    assert.match(wrong.err, /user name or password is wrong/);
    const done = await xylem([...login, '--password-file', '-', '--pin', pin], 'correct horse\n');
    assert.equal(done.status, 0, done.err);
    assert.equal(done.out, '');
    assert.match(
      done.err,
      /logged in as alice until .*\n.*access-token\nwrote .*client\.yaml: root proxies are reached at 127\.0\.0\.1:7202/,
    );
    const kept = join(home, '.config', 'xylem');
    for (const [name, mode] of [
      ['key.pem', 0o600],
      ['access-token', 0o600],
      ['cert.pem', 0o644],
    ] as const) {
      assert.equal(statSync(join(kept, name)).mode & 0o777, mode, name);
    }
    // The pin is remembered: what is trusted is known from the login before.
    const again = await xylem([...login, '--password-file', '-'], 'correct horse\n');
    assert.equal(again.status, 0, again.err);
    const printed = await xylem(['login', '--print-token']);
    const verifier = new StatementVerifier({
      domain: 'xylem.internal',
      trust: () => readFileSync(join(kept, 'ca.pem'), 'utf8'),
    });
    const verdict = await verifier.accessToken(printed.out.trim());
    assert.ok(verdict.kind === 'verified' && verdict.content.user === 'alice');
    assert.match((await xylem(['logout'])).err, /logged out/);
    assert.equal(existsSync(join(kept, 'key.pem')), false);
    assert.match((await xylem(['login', '--print-token'])).err, /holds no access token; log in first/);
  });

  it('a login with single sign-on goes through the browser, and its groups count in the policy', async () => {
    const child = start(['login', '--root', enrol, '--oidc', '--no-browser', '--pin', pin]);
    assert.ok(child.stderr !== null);
    const lines: string[] = [];
    const closed = once(child, 'close');
    for await (const line of createInterface(child.stderr)) {
      lines.push(line);
      const [address] = /http:\/\/\S+\/auth\?\S+/.exec(line) ?? [];
      if (address !== undefined) assert.match(await browse(address, 'dora'), /You can close this window/);
    }
    await closed;
    assert.equal(child.exitCode, 0, lines.join('\n'));
    assert.match(lines.join('\n'), /logged in as dora@example\.com until/);
    const listed = await administer('users', 'ls');
    assert.match(listed.out, /dora@example\.com +active +dba \(single sign-on\), ops \(single sign-on\)/);
    const check = await administer('policy', 'check', 'dora@example.com', 'db-1.berlin:5432');
    assert.equal(check.status, 0, check.out);
    await administer('users', 'disable', 'dora@example.com');
    const disabled = await administer('policy', 'check', 'dora@example.com', 'db-1.berlin:5432');
    assert.equal(disabled.status, 77);
  });

  it('a user is locked out, let in again and removed', async () => {
    const login = ['login', '--root', enrol, '--user', 'alice', '--pin', pin, '--password-file'];
    assert.match((await administer('users', 'disable', 'alice')).out, /alice is disabled/);
    const refused = await xylem([...login, join(folder, 'password')]);
    assert.equal(refused.status, 77);
    assert.match(refused.err, /the user is disabled; ask an administrator/);
    assert.match((await administer('users', 'enable', 'alice')).out, /may log in again/);
    assert.equal((await xylem([...login, join(folder, 'password')])).status, 0);
    assert.match((await administer('users', 'rm', 'alice')).out, /alice is removed/);
    assert.equal((await administer('users', 'rm', 'alice')).status, 68);
    assert.equal((await xylem([...login, join(folder, 'password')])).status, 77);
  });
});
