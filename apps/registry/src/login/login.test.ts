import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { createChannel } from '@xylem/grpc';
import {
  EnrolmentError,
  Secret,
  StatementVerifier,
  fileTlsSource,
  logIn,
  logOut,
  shownRoot,
  trustByPin,
  userPinOf,
  waysToLogIn,
} from '@xylem/identity';
import type { LoginProof, StoredLogin } from '@xylem/identity';
import { AdminService } from '@xylem/wire';
import { SignJWT, exportJWK, generateKeyPair } from 'jose';
import type { JWTPayload } from 'jose';
import type { RegistrySettings } from '../config.ts';
import { authorityRegistry, embedded, folder } from '../testing/world.ts';
import type { TestRegistry } from '../testing/world.ts';

const DOMAIN = 'xylem.internal';
const CHEAP = { N: 1_024, r: 8, p: 1 } as const;
const ALICE = { name: 'alice', groups: ['dba'], password: 'correct horse', disabled: false, keepGroups: false };

interface Bench {
  readonly registry: TestRegistry;
  readonly pin: string;
  /** Calls AdminService as the registry's own administrator. */
  readonly admin: ReturnType<typeof createChannel>;
  readonly dataDir: string;
}

async function openBench(t: TestContext, change: Partial<RegistrySettings> = {}): Promise<Bench> {
  const dataDir = await folder(t);
  const settings = { ...change, dataDir };
  const registry = await authorityRegistry(t, 'r1', await embedded(t), settings, { passwordCost: CHEAP });
  const directory = join(dataDir, 'admin');
  const tls = fileTlsSource({
    ca: join(directory, 'ca.pem'),
    cert: join(directory, 'cert.pem'),
    key: join(directory, 'key.pem'),
  });
  const admin = createChannel({ address: `127.0.0.1:${registry.port}`, tls, serverName: `registry.${DOMAIN}` });
  t.after(() => {
    admin.close();
    tls.close();
  });
  const { pin } = await admin.unary(AdminService.putUser, { ...ALICE, replace: false }, 5_000);
  return { registry, pin, admin, dataDir };
}

function addresses({ registry }: Bench): readonly [{ readonly host: string; readonly port: number }] {
  return [{ host: '127.0.0.1', port: registry.enrolPort }];
}

async function enter(t: TestContext, bench: Bench, proof: LoginProof): Promise<StoredLogin & { directory: string }> {
  const directory = join(await folder(t), 'me');
  const trust = await trustByPin(addresses(bench), DOMAIN, bench.pin);
  return { ...(await logIn({ directory, addresses: addresses(bench), domain: DOMAIN, trust, proof })), directory };
}

function password(text: string, user = 'alice'): LoginProof {
  return { kind: 'password', user, password: new Secret(text) };
}

function isRefused(code: string, text = /./) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof EnrolmentError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, text);
    return true;
  };
}

describe('a login with a password', () => {
  it('gives a certificate, the trust and an access token, kept for the user only', async (t) => {
    const bench = await openBench(t);
    const login = await enter(t, bench, password('correct horse'));
    assert.equal(login.user, 'alice');
    assert.equal(login.facts.identity, 'user/alice');
    assert.equal(userPinOf(login.material.ca), bench.pin);
    const path = join(login.directory, 'access-token');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const verifier = new StatementVerifier({ domain: DOMAIN, trust: () => login.material.ca });
    const verdict = await verifier.accessToken(readFileSync(path, 'utf8').trim());
    assert.ok(verdict.kind === 'verified', JSON.stringify(verdict));
    assert.equal(verdict.content.user, 'alice');
    assert.ok(Math.abs((verdict.expiresAtMs ?? 0) - Date.now() - 12 * 3_600_000) < 60_000);
    assert.equal(logOut(login.directory), true);
    assert.equal(existsSync(path), false);
    assert.equal(logOut(login.directory), false);
  });

  it('is refused in the same words for a wrong password and an unknown user', async (t) => {
    const bench = await openBench(t);
    for (const proof of [password('wrong horse'), password('correct horse', 'mallory')]) {
      await assert.rejects(enter(t, bench, proof), isRefused('login-refused', /^user name or password is wrong$/));
    }
  });

  it('is refused for whom an administrator has disabled, and works again afterwards', async (t) => {
    const bench = await openBench(t);
    await enter(t, bench, password('correct horse'));
    const change = { ...ALICE, password: '', replace: true };
    await bench.admin.unary(AdminService.putUser, { ...change, disabled: true }, 5_000);
    await assert.rejects(enter(t, bench, password('correct horse')), isRefused('user-disabled'));
    await bench.admin.unary(AdminService.putUser, change, 5_000);
    const again = await enter(t, bench, password('correct horse'));
    assert.ok(again.facts.issuedAtMs > 0);
  });

  it('is locked for a minute after ten wrong ones, for users that do not exist as well', async (t) => {
    for (const user of ['alice', 'mallory']) {
      const bench = await openBench(t);
      for (let guesses = 0; guesses < 9; guesses += 1) {
        await assert.rejects(enter(t, bench, password('wrong', user)), isRefused('login-refused'));
      }
      const last = await Promise.allSettled([1, 2].map(() => enter(t, bench, password('wrong', user))));
      const codes = last.map((outcome) => (outcome.status === 'rejected' ? String(outcome.reason.code) : 'granted'));
      assert.ok(codes.includes('too-many') || codes.length === 2);
      await assert.rejects(enter(t, bench, password('correct horse', user)), isRefused('too-many', /too many failed/));
    }
  });

  it('tells what ways there are, and shows the root before it is trusted', async (t) => {
    const bench = await openBench(t);
    const trust = await shownRoot(addresses(bench), DOMAIN);
    assert.equal(userPinOf(trust), bench.pin);
    assert.deepEqual(await waysToLogIn(addresses(bench), DOMAIN, trust), { password: true });
    const other = `sha256:${'0'.repeat(64)}`;
    await assert.rejects(trustByPin(addresses(bench), DOMAIN, other), /another root certificate/);
  });
});

interface Provider {
  readonly issuer: string;
  readonly sign: (claims: JWTPayload, header?: object) => Promise<string>;
}

/** As much of an OpenID provider as a verifier sees. */
async function openProvider(t: TestContext): Promise<Provider> {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk = { ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' };
  let issuer = '';
  const server = createServer((request, response) => {
    const isKeys = request.url === '/jwks';
    const body = isKeys ? { keys: [jwk] } : { issuer, jwks_uri: `${issuer}/jwks` };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  t.after(() => server.close());
  const bound = server.address();
  issuer = `http://127.0.0.1:${bound !== null && typeof bound === 'object' ? bound.port : 0}`;
  return {
    issuer,
    sign: (claims, header = {}) =>
      new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'k1', ...header }).sign(privateKey),
  };
}

describe('a login with an ID token', () => {
  async function openSso(t: TestContext) {
    const provider = await openProvider(t);
    const oidc = {
      issuer: provider.issuer,
      clientId: 'xylem',
      userClaim: 'email',
      groupsClaim: 'groups',
      scopes: ['openid', 'email'],
    };
    const bench = await openBench(t, { oidc });
    const nowS = Math.floor(Date.now() / 1_000);
    const claims = {
      iss: provider.issuer,
      aud: 'xylem',
      sub: 's-1',
      iat: nowS,
      exp: nowS + 300,
      email: 'Carol@Example.com',
      email_verified: true,
      groups: ['ops'],
    };
    const token = (change: object = {}, header: object = {}): LoginProof => ({
      kind: 'idToken',
      fetch: async (nonce) => new Secret(await provider.sign({ ...claims, nonce, ...change }, header)),
    });
    return { bench, provider, token, nowS };
  }

  it('gives what a password gives, and groups that policies know', async (t) => {
    const { bench, provider, token } = await openSso(t);
    const trust = await shownRoot(addresses(bench), DOMAIN);
    const ways = await waysToLogIn(addresses(bench), DOMAIN, trust);
    assert.deepEqual(ways.oidc, { issuer: provider.issuer, clientId: 'xylem', scopes: ['openid', 'email'] });
    const login = await enter(t, bench, token());
    assert.equal(login.user, 'carol@example.com');
    const { users } = await bench.admin.unary(AdminService.listUsers, {}, 5_000);
    const carol = users.find(({ name }) => name === 'carol@example.com');
    assert.deepEqual(carol?.externalGroups, ['ops']);
    assert.equal(carol?.issuer, provider.issuer);
  });

  it('is refused when anything about the token is not as it has to be', async (t) => {
    const { bench, token, nowS } = await openSso(t);
    const cases: readonly (readonly [object, RegExp])[] = [
      [{ nonce: 'somebody-elses' }, /made for another login/],
      [{ aud: 'other' }, /'s aud cannot be taken/],
      [{ aud: ['xylem', 'other'] }, /given to another client/],
      [{ azp: 'other' }, /given to another client/],
      [{ iss: 'http://127.0.0.1:1' }, /'s iss cannot be taken/],
      [{ exp: nowS - 120 }, /has expired/],
      [{ iat: nowS - 1_200 }, /has expired|'s iat cannot be taken/],
      [{ iat: nowS + 600 }, /'s iat cannot be taken/],
      [{ sub: undefined }, /'s sub cannot be taken/],
      [{ email: undefined }, /has no email/],
      [{ email: 'a b' }, /is no user name/],
      [{ email_verified: false }, /has not verified email/],
    ];
    // Each is a failed attempt of this address, of which there are ten a minute.
    for (const [change, expected] of cases.slice(0, 9)) {
      await assert.rejects(enter(t, bench, token(change)), isRefused('login-refused', expected));
    }
    const { bench: fresh, token: anew } = await openSso(t);
    for (const [change, expected] of cases.slice(9)) {
      await assert.rejects(enter(t, fresh, anew(change)), isRefused('login-refused', expected));
    }
    const forged: LoginProof = {
      kind: 'idToken',
      fetch: async () => {
        const { privateKey } = await generateKeyPair('ES256');
        const text = await new SignJWT({}).setProtectedHeader({ alg: 'ES256', kid: 'k1' }).sign(privateKey);
        return new Secret(text);
      },
    };
    await assert.rejects(enter(t, fresh, forged), isRefused('login-refused', /not signed by the OpenID provider/));
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{}').toString('base64url')}.`;
    const unsigned: LoginProof = { kind: 'idToken', fetch: () => Promise.resolve(new Secret(none)) };
    await assert.rejects(enter(t, fresh, unsigned), isRefused('login-refused', /not signed by the OpenID provider/));
  });

  it('does not take over a user who has a password', async (t) => {
    const { bench, token } = await openSso(t);
    await assert.rejects(enter(t, bench, token({ email: 'alice' })), isRefused('denied', /logs in with a password/));
  });

  it('is put off, not refused, while the provider cannot be reached', async (t) => {
    const oidc = { issuer: 'http://127.0.0.1:9', clientId: 'x', userClaim: 'email', scopes: ['openid'] };
    const bench = await openBench(t, { oidc });
    const proof: LoginProof = { kind: 'idToken', fetch: () => Promise.resolve(new Secret('a.b.c')) };
    await assert.rejects(
      enter(t, bench, proof),
      isRefused('unavailable', /provider cannot be used: it does not answer/),
    );
  });
});
