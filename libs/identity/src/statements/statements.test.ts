import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { before, describe, it } from 'node:test';
import type { Policy } from '@xylem/policy';
import { CompactSign } from 'jose';
import {
  createAuthority,
  derOfPem,
  membershipDigest,
  StatementError,
  StatementSigner,
  StatementVerifier,
} from '../index.ts';
import type { Authority, DialGrant, Identity, TlsMaterial } from '../index.ts';

const DOMAIN = 'xylem.internal';
const HOUR_MS = 3_600_000;
const GRANT: DialGrant = {
  user: 'alice',
  leaf: 'berlin',
  agent: 'a1',
  instance: '0123456789abcdef',
  proxy: 'p1',
  node: 'web',
  port: 80,
  connection: 'c-1',
  policyVersion: 7,
};
const POLICY: Policy = {
  groups: new Map([['dba', ['alice', 'bob']]]),
  admins: [],
  rules: [
    {
      name: 'databases',
      effect: 'allow',
      subjects: [{ kind: 'anonymous' }, { kind: 'group', group: 'dba' }],
      leaves: ['berlin'],
      targets: [
        { node: 'bastion', ports: undefined },
        { node: 'db-*', ports: [5432] },
      ],
    },
  ],
  cutOpenConnections: true,
};

let authority: Authority;
let registry: TlsMaterial;
let nowMs: number;
let trust: string;
const now = (): number => nowMs;

async function material(identity: Identity, from = authority, ttlMs = HOUR_MS): Promise<TlsMaterial> {
  const { ca, cert, key } = await from.issue(identity, ttlMs);
  return { ca, cert, key: key.reveal() };
}

function signerOf(current: TlsMaterial): StatementSigner {
  return new StatementSigner({ domain: DOMAIN, current: () => current, now });
}

function verifier(): StatementVerifier {
  return new StatementVerifier({ domain: DOMAIN, trust: () => trust, now });
}

async function refusalOf(text: string, using = verifier()): Promise<string> {
  const verdict = await using.grant(text);
  return verdict.kind === 'refused' ? verdict.detail : 'verified';
}

/** A statement with any header and claims, signed as a registry would. */
async function forged(header: Record<string, unknown>, claims: unknown, key = registry.key): Promise<string> {
  const x5c = derOfPem(registry.cert).map((der) => der.toString('base64'));
  const payload = Buffer.from(typeof claims === 'string' ? claims : JSON.stringify(claims));
  return new CompactSign(payload)
    .setProtectedHeader({ alg: 'ES256', typ: 'xylem-grant+jwt', x5c, ...header })
    .sign(createPrivateKey(key));
}

before(async () => {
  authority = await createAuthority({ domain: DOMAIN });
  nowMs = Date.now();
  trust = authority.ca;
  registry = await material({ kind: 'registry', registry: 'r1' });
});

describe('what a registry signs', () => {
  it('verifies: a grant, of a user or of nobody in particular', async () => {
    for (const grant of [GRANT, { ...GRANT, user: undefined }]) {
      const verdict = await verifier().grant(signerOf(registry).grant(grant, 30_000));
      assert.equal(verdict.kind, 'verified');
      if (verdict.kind !== 'verified') continue;
      assert.deepEqual(verdict.content, grant);
      assert.equal(verdict.registry, 'r1');
      assert.equal((verdict.expiresAtMs ?? 0) - verdict.issuedAtMs, 30_000);
    }
  });

  it('verifies: a standing grant with its policy, again and again', async () => {
    const grant = { leaf: 'berlin', proxy: 'p1', policyVersion: 7, policy: POLICY };
    const text = signerOf(registry).standingGrant(grant, 900_000);
    const using = verifier();
    for (let times = 0; times < 3; times += 1) {
      const verdict = await using.standingGrant(text);
      assert.deepEqual(verdict.kind === 'verified' && verdict.content, grant);
    }
  });

  it('verifies: membership, extremes included', async () => {
    const statement = { epoch: 2n ** 64n - 1n, revision: 0n, sha256: membershipDigest('p1@0000000000000007:ready:0') };
    const verdict = await verifier().membership(signerOf(registry).membership(statement));
    assert.deepEqual(verdict.kind === 'verified' && verdict.content, statement);
  });

  it('is told apart by kind', async () => {
    const membership = signerOf(registry).membership({ epoch: 1n, revision: 2n, sha256: membershipDigest('') });
    assert.match(await refusalOf(membership), /not a xylem-grant\+jwt/);
    const grant = signerOf(registry).grant(GRANT, 30_000);
    assert.equal((await verifier().standingGrant(grant)).kind, 'refused');
    assert.equal((await verifier().membership(grant)).kind, 'refused');
  });
});

describe('a statement is refused', () => {
  it('when it is none, or too long', async () => {
    for (const text of ['', 'x', '..', 'a.b.c', '\0', `${'a'.repeat(50_000)}.b.c`]) {
      assert.notEqual(await refusalOf(text), 'verified');
    }
  });

  it('when somebody else than a registry signed it', async () => {
    const strangers: Identity[] = [
      { kind: 'proxy', proxy: 'p1' },
      { kind: 'agent', leaf: 'berlin', agent: 'a1' },
      { kind: 'user', user: 'alice' },
    ];
    const registryText = signerOf(registry).grant(GRANT, 30_000);
    const payload = Buffer.from(registryText.split('.')[1] ?? '', 'base64url').toString();
    for (const identity of strangers) {
      const own = await material(identity);
      assert.throws(() => signerOf(own).grant(GRANT, 30_000), StatementError);
      const x5c = derOfPem(own.cert).map((der) => der.toString('base64'));
      assert.match(await refusalOf(await forged({ x5c }, payload, own.key)), /only registries|not one for a server/);
    }
  });

  it('when its certificate leads to no trusted root, or has expired', async () => {
    const other = await createAuthority({ domain: DOMAIN });
    const text = signerOf(await material({ kind: 'registry', registry: 'r1' }, other)).grant(GRANT, 30_000);
    assert.match(await refusalOf(text), /root that is trusted/);
    const short = signerOf(await material({ kind: 'registry', registry: 'r1' }, authority, 10_000));
    const membership = short.membership({ epoch: 1n, revision: 2n, sha256: membershipDigest('') });
    const using = verifier();
    assert.equal((await using.membership(membership)).kind, 'verified');
    nowMs += 12_000;
    assert.match(JSON.stringify(await using.membership(membership)), /has expired/);
    nowMs -= 12_000;
  });

  it('as soon as its root is trusted no more, though it was verified before', async () => {
    const text = signerOf(registry).membership({ epoch: 1n, revision: 2n, sha256: membershipDigest('') });
    const using = verifier();
    assert.equal((await using.membership(text)).kind, 'verified');
    trust = (await createAuthority({ domain: DOMAIN })).ca;
    assert.equal((await using.membership(text)).kind, 'refused');
    trust = authority.ca;
    assert.equal((await using.membership(text)).kind, 'verified');
  });

  it('when a single bit of it was changed', async () => {
    const text = signerOf(registry).grant(GRANT, 30_000);
    const using = verifier();
    const [header = '', payload = '', signature = ''] = text.split('.');
    const flipped = (part: string): string => `${part.slice(0, 40)}${part[40] === 'A' ? 'B' : 'A'}${part.slice(41)}`;
    for (const changed of [
      [flipped(header), payload, signature],
      [header, flipped(payload), signature],
      [header, payload, flipped(signature)],
      [header, payload, ''],
    ])
      assert.notEqual(await refusalOf(changed.join('.'), using), 'verified');
  });

  it('when another key signed it than that of the certificate in it', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    assert.match(await refusalOf(await forged({}, {}, pem)), /signature/);
  });

  it('when its header says more or other than it has to', async () => {
    for (const header of [
      { kid: 'x' },
      { jwk: {} },
      { jku: 'https://example.com' },
      { typ: 'JWT' },
      { typ: undefined },
      { x5c: [] },
      { x5c: undefined },
      { x5c: ['!'] },
      { x5c: Array.from({ length: 5 }, () => 'AAAA') },
    ]) {
      assert.match(await refusalOf(await forged(header, {})), /header|is not a/, JSON.stringify(header));
    }
    const none = `${Buffer.from('{"alg":"none","typ":"xylem-grant+jwt"}').toString('base64url')}.e30.`;
    assert.match(await refusalOf(none), /header/);
  });

  it('when a claim is missing, malformed or unknown', async () => {
    const iat = Math.floor(nowMs / 1_000);
    const good = {
      iss: 'registry/r1',
      iat,
      exp: iat + 30,
      sub: 'user/alice',
      aud: 'leaf/berlin',
      agent: 'a1',
      instance: 'i',
      proxy: 'p1',
      node: 'web',
      port: 80,
      jti: 'c-1',
      pol: 7,
    };
    assert.equal(await refusalOf(await forged({}, good)), 'verified');
    for (const key of Object.keys(good)) {
      assert.match(await refusalOf(await forged({}, { ...good, [key]: undefined })), /claims/, key);
    }
    for (const changes of [
      { extra: 1 },
      { sub: 'alice' },
      { sub: 'user/' },
      { sub: 'user/..' },
      { aud: 'berlin' },
      { aud: ['leaf/berlin'] },
      { aud: 'leaf/*' },
      { node: '*' },
      { node: 'WEB' },
      { port: 0 },
      { port: 65_536 },
      { port: '80' },
      { jti: '' },
      { exp: `${good.exp}` },
      { iat: -1 },
    ])
      assert.match(await refusalOf(await forged({}, { ...good, ...changes })), /claims/, JSON.stringify(changes));
    for (const text of ['', '[]', 'null', '{', '1'])
      assert.notEqual(await refusalOf(await forged({}, text)), 'verified');
    assert.match(await refusalOf(await forged({}, { ...good, iss: 'registry/r2' })), /issuer/);
    assert.match(await refusalOf(await forged({}, { ...good, exp: iat + 61 })), /lifetime/);
    assert.match(await refusalOf(await forged({}, { ...good, exp: iat })), /lifetime/);
  });

  it('before and after its time, with a minute of grace for clocks', async () => {
    const text = signerOf(registry).grant(GRANT, 30_000);
    const at = nowMs;
    for (const [shiftMs, expected] of [
      [-55_000, 'verified'],
      [-65_000, 'future'],
      [85_000, 'verified'],
      [95_000, 'expired'],
    ] as const) {
      nowMs = at + shiftMs;
      assert.match(await refusalOf(text), new RegExp(expected), `${shiftMs} ms`);
    }
    nowMs = at;
  });
});

it('a signer makes no statement that nobody would take', async () => {
  const signer = signerOf(registry);
  for (const lifetimeMs of [0, -1, Number.NaN, 60_001])
    assert.throws(() => signer.grant(GRANT, lifetimeMs), StatementError);
  const [rule] = POLICY.rules;
  assert.ok(rule !== undefined);
  const rules = Array.from({ length: 1_000 }, (_, index) => ({ ...rule, name: `rule-${index}` }));
  const policy = { ...POLICY, rules };
  assert.throws(
    () => signer.standingGrant({ leaf: 'berlin', proxy: 'p1', policyVersion: 1, policy }, 1_000),
    /longer than/,
  );
});

it('a signer takes up renewed credentials', async () => {
  let current = registry;
  const signer = new StatementSigner({ domain: DOMAIN, current: () => current, now });
  const first = signer.grant(GRANT, 30_000);
  current = await material({ kind: 'registry', registry: 'r1' });
  const second = signer.grant(GRANT, 30_000);
  assert.notEqual(first.split('.')[0], second.split('.')[0]);
  assert.equal(await refusalOf(second), 'verified');
});
