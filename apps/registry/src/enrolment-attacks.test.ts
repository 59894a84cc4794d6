import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:net';
import { before, test } from 'node:test';
import {
  EnrolmentError,
  createAuthority,
  joinTokenHash,
  makePrivateKey,
  readIdentityFolder,
  renewIdentity,
  requestFor,
} from '@xylem/identity';
import type { JoinToken } from '@xylem/identity';
import { decodeIdentity, encodeRecord, identityKey } from '@xylem/authority';
import { AdminService } from '@xylem/wire';
import { DOMAIN, addressesOf, adminChannel, enrol, makeToken } from './testing/enrolment.ts';
import { codeOf, post, sendRaw } from './testing/raw-enrolment.ts';
import type { RawAnswer, RawOptions } from './testing/raw-enrolment.ts';
import { STORES, authorityRegistry, embedded, folder } from './testing/world.ts';

const DEADLINE_MS = 5_000;

let request = '';
before(async () => {
  request = (await requestFor(await makePrivateKey())).request;
});

function joinBody(token: JoinToken, change: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({
    secret: token.secret.reveal(),
    role: 'agent',
    leaf: 'berlin',
    name: 'a1',
    request,
    ...change,
  });
}

async function newRequest(): Promise<string> {
  return (await requestFor(await makePrivateKey())).request;
}

for (const kind of STORES) {
  test(
    `A4: of 100 uses of one token at once exactly one succeeds, with the ${kind.name}`,
    { timeout: 60_000 },
    async (t) => {
      const registry = await authorityRegistry(t, 'r1', await kind.open(t));
      const { authority } = registry;
      assert.ok(authority !== undefined);
      const token = await makeToken(registry);
      const secret = token.secret.reveal();
      const uses = await Promise.all(
        Array.from({ length: 100 }, async (_none, index) => {
          const asked = {
            secret,
            role: 'agent',
            leaf: undefined,
            name: `a${index}`,
            request: await newRequest(),
          } as const;
          return authority.enrolments.join(asked, '127.0.0.1').then(
            ({ identity }) => identity,
            (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : String(error)),
          );
        }),
      );
      const won = uses.filter((result) => result.startsWith('leaf/'));
      assert.equal(won.length, 1, uses.join());
      assert.deepEqual(new Set(uses.filter((result) => !result.startsWith('leaf/'))), new Set(['token-refused']));
    },
  );
}

test('A4: a token that is truncated, expired, removed, unknown or for somebody else gives nothing', async (t) => {
  const dataDir = await folder(t);
  const registry = await authorityRegistry(t, 'r1', await embedded(t), { dataDir });
  const token = await makeToken(registry);
  const short = token.secret.reveal().slice(0, 42);
  assert.equal(codeOf(await sendRaw(registry, post('/v1/join', joinBody(token, { secret: short })))), 'invalid');
  const other = `${short}${token.secret.reveal().endsWith('A') ? 'Q' : 'A'}`;
  assert.equal(codeOf(await sendRaw(registry, post('/v1/join', joinBody(token, { secret: other })))), 'token-refused');
  const mismatch = await sendRaw(registry, post('/v1/join', joinBody(token, { leaf: 'tokyo' })));
  assert.deepEqual([mismatch.status, codeOf(mismatch)], [403, 'token-mismatch']);
  const far = await makeToken(registry, { sources: ['10.1.2.0/24', '2001:db8::/32'] });
  assert.equal(codeOf(await sendRaw(registry, post('/v1/join', joinBody(far)))), 'token-mismatch');
  const admin = adminChannel(t, registry, dataDir);
  const fingerprint = joinTokenHash(far.secret.reveal()).slice(0, 8);
  await admin.unary(AdminService.removeToken, { fingerprint }, DEADLINE_MS);
  assert.equal(codeOf(await sendRaw(registry, post('/v1/join', joinBody(far)))), 'token-refused');
  assert.equal((await sendRaw(registry, post('/v1/join', joinBody(token)))).status, 200);
});

test('A4: guessing is limited per address, and a right token has to wait, too', async (t) => {
  const registry = await authorityRegistry(t, 'r1', await embedded(t));
  const token = await makeToken(registry);
  const answers: RawAnswer[] = [];
  for (let guess = 0; guess < 12; guess += 1) {
    const secret = `${'x'.repeat(41)}${String(guess).padStart(2, '0')}`;
    answers.push(await sendRaw(registry, post('/v1/join', joinBody(token, { secret }))));
  }
  assert.deepEqual(
    answers.map(({ status }) => status),
    [...Array.from({ length: 10 }, () => 401), 429, 429],
  );
  const late = await sendRaw(registry, post('/v1/join', joinBody(token)));
  assert.deepEqual([late.status, codeOf(late)], [429, 'too-many']);
  assert.match(late.head, /^retry-after: [1-9][0-9]?\r?$/im);
});

test('A4: who guesses tokens keeps nobody behind the same address from renewing, and a certificate that fails has to wait', async (t) => {
  const registry = await authorityRegistry(t, 'r1', await embedded(t));
  const { stored } = await enrol(t, registry, await makeToken(registry));
  const token = await makeToken(registry);
  for (let guess = 0; guess < 11; guess += 1) {
    await sendRaw(registry, post('/v1/join', joinBody(token, { secret: 'x'.repeat(43) })));
  }
  assert.equal((await sendRaw(registry, post('/v1/join', joinBody(token)))).status, 429);
  assert.equal((await sendRaw(registry, post('/v1/renew', '{}'))).status, 429);
  const client = { cert: stored.material.cert, key: stored.material.key };
  const body = JSON.stringify({ generation: 1, request: await newRequest() });
  assert.equal((await sendRaw(registry, post('/v1/renew', body), { client })).status, 200);
  const failed: number[] = [];
  for (let times = 0; times < 11; times += 1) {
    failed.push((await sendRaw(registry, post('/v1/renew', '{}'), { client })).status);
  }
  assert.deepEqual(failed, [...Array.from({ length: 10 }, () => 400), 429]);
});

/** A source address of its own for each case: failures are counted by it. */
function sources(): () => string {
  let last = 1;
  return () => {
    last += 1;
    return `127.0.0.${last}`;
  };
}

test('A5: whatever is in a name, the answer is 400 and holds nothing of it, and the log stays one line each', async (t) => {
  const registry = await authorityRegistry(t, 'r1', await embedded(t));
  const token = await makeToken(registry);
  const next = sources();
  const names = [
    'a\r\nb',
    '$(reboot)',
    '`id`',
    '"\'<img onerror=x>',
    '../../etc',
    'a%2fb',
    '\u202eexe',
    '\0',
    'A1',
    '-a',
  ];
  for (const name of [...names, 'a'.repeat(64), '\u001b]52;c;x\u0007', '__proto__', '']) {
    for (const change of [{ name }, { leaf: name }, { secret: name }, { request: name }, { role: name }]) {
      const answer = await sendRaw(registry, post('/v1/join', joinBody(token, change)), { from: next() });
      assert.deepEqual([answer.status, codeOf(answer)], [400, 'invalid'], JSON.stringify(change));
      if (name.length > 2) assert.ok(!answer.body.includes(JSON.stringify(name).slice(1, -1)), answer.body);
    }
  }
  for (const line of registry.lines) assert.doesNotThrow(() => JSON.parse(line), line);
  assert.equal((await sendRaw(registry, post('/v1/join', joinBody(token)))).status, 200, 'the token is still good');
});

test(
  'A5: bodies that are too long, chunked, no JSON, or hold more than is known are refused',
  { timeout: 30_000 },
  async (t) => {
    const registry = await authorityRegistry(t, 'r1', await embedded(t));
    const token = await makeToken(registry);
    const next = sources();
    const body = joinBody(token);
    const send = (bytes: Buffer | string): Promise<RawAnswer> => sendRaw(registry, bytes, { from: next() });
    const huge = await send(post('/v1/join', joinBody(token, { name: 'a'.repeat(1024 * 1024) })));
    assert.ok(huge.status === 413 || huge.status === 0, String(huge.status));
    const claims = await send(post('/v1/join', '{}', { 'content-length': '8193' }));
    assert.deepEqual([claims.status, codeOf(claims)], [413, 'too-large']);
    const cases: readonly (readonly [number, Buffer | string])[] = [
      [400, post('/v1/join', joinBody(token, { admin: true }))],
      [400, post('/v1/join', `${body}x`)],
      [400, post('/v1/join', '[]')],
      [400, post('/v1/join', 'null')],
      [400, post('/v1/join', Buffer.from([0xff, 0xfe, 0x7b]))],
      [400, post('/v1/join', body, { 'content-type': 'text/plain' })],
      [400, post('/v1/join', body, { expect: '100-continue' })],
      [
        400,
        'POST /v1/join HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      ],
      [404, post('/v1/join/', body)],
      [404, post('/v1/join?secret=x', body)],
      [404, post('//v1/join', body)],
      [405, 'GET /v1/join HTTP/1.1\r\nhost: x\r\n\r\n'],
      [400, post('/v1/renew', '{}').toString().replace('POST', 'post')],
    ];
    for (const [status, bytes] of cases) {
      const answer = await send(bytes);
      assert.ok([status, 0].includes(answer.status), `${String(bytes).slice(0, 80)}: ${answer.status}`);
    }
    const both = post('/v1/join', body, { 'transfer-encoding': 'chunked' });
    assert.ok([400, 0].includes((await send(both)).status));
    assert.equal((await send(post('/v1/join', body))).status, 200, 'the token is still good');
  },
);

test('A1: a renewal without a certificate, or with one of another authority, is refused', async (t) => {
  const registry = await authorityRegistry(t, 'r1', await embedded(t));
  const body = JSON.stringify({ generation: 1, request });
  const none = await sendRaw(registry, post('/v1/renew', body));
  assert.deepEqual([none.status, codeOf(none)], [401, 'certificate-refused']);
  const others = await createAuthority({ domain: DOMAIN });
  const { cert, key } = await others.issue({ kind: 'agent', leaf: 'berlin', agent: 'a1' }, 60_000);
  const foreign = await sendRaw(registry, post('/v1/renew', body), { client: { cert, key: key.reveal() } });
  assert.ok(foreign.status === 401 || foreign.status === 0);
});

test('A3: an agent gets no intermediate, and a user does not renew', async (t) => {
  const dataDir = await folder(t);
  const registry = await authorityRegistry(t, 'r1', await embedded(t), { dataDir });
  const { stored } = await enrol(t, registry, await makeToken(registry));
  const asAgent = await sendRaw(registry, post('/v1/intermediate', JSON.stringify({ request })), {
    client: stored.material,
  });
  assert.deepEqual([asAgent.status, codeOf(asAgent)], [401, 'certificate-refused']);
  const admin = readIdentityFolder(join(dataDir, 'admin')).material;
  const asUser = await sendRaw(registry, post('/v1/renew', JSON.stringify({ generation: 0, request })), {
    client: admin,
  });
  assert.deepEqual([asUser.status, codeOf(asUser)], [400, 'invalid']);
});

test('A3: who asks for an intermediate without the right to it is in the audit log, a replaced certificate of a registry included', async (t) => {
  const dataDir = await folder(t);
  const file = join(dataDir, 'audit.jsonl');
  const registry = await authorityRegistry(t, 'r1', await embedded(t), { dataDir, audit: { required: false, file } });
  const { authority } = registry;
  assert.ok(authority !== undefined);
  const agent = await enrol(t, registry, await makeToken(registry));
  const second = await enrol(t, registry, await makeToken(registry, { role: 'registry', leaf: '' }), {
    role: 'registry',
    name: 'r2',
  });
  const ask = async (client: RawOptions['client'] = second.stored.material): Promise<readonly [number, string]> => {
    const answer = await sendRaw(registry, post('/v1/intermediate', JSON.stringify({ request })), { client });
    return [answer.status, codeOf(answer)];
  };
  assert.equal((await ask())[0], 200);
  assert.deepEqual(await ask(agent.stored.material), [401, 'certificate-refused']);
  const key = identityKey('registry/r2');
  const read = await authority.store.read(key, decodeIdentity);
  assert.ok(read.record !== undefined);
  const newer = { ...read.record, key: 'another', previousKey: '', issuedAtMs: read.record.issuedAtMs + 120_000 };
  const put = { type: 'put', key, value: encodeRecord(newer), lease: 0n } as const;
  assert.ok(await authority.store.commit({ compares: [], steps: [put] }));
  assert.deepEqual(await ask(), [401, 'certificate-refused']);
  const refused = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.includes('"identity.refused"'));
  assert.deepEqual(
    refused.map((line) => /"subject":"([^"]+)"/.exec(line)?.[1]),
    ['leaf/berlin/agent/a1', 'registry/r2'],
  );
});

for (const kind of STORES) {
  test(`A6: a copied key locks both holders, raises an alarm and is pushed, with the ${kind.name}`, async (t) => {
    const dataDir = await folder(t);
    const file = join(dataDir, 'audit.jsonl');
    const audit = { required: false, file };
    const registry = await authorityRegistry(t, 'r1', await kind.open(t), { dataDir, audit });
    const { directory, stored } = await enrol(t, registry, await makeToken(registry));
    await renewIdentity(directory, addressesOf(registry));
    const stolen = await sendRaw(
      registry,
      post('/v1/renew', JSON.stringify({ generation: 99, request: await newRequest() })),
      { client: stored.material },
    );
    assert.deepEqual([stolen.status, codeOf(stolen)], [403, 'locked']);
    await assert.rejects(renewIdentity(directory, addressesOf(registry)), (error: unknown) => {
      return error instanceof EnrolmentError && error.code === 'locked' && error.final;
    });
    const { identities } = await adminChannel(t, registry, dataDir).unary(AdminService.listIdentities, {}, DEADLINE_MS);
    const states = new Map(identities.map(({ identity, state }) => [identity, state]));
    assert.equal(states.get(stored.facts.identity), 'locked');
    assert.match(readFileSync(file, 'utf8'), /"identity\.locked".*leaf\/berlin\/agent\/a1/);
    assert.ok(registry.lines.some((line) => line.includes('"error"') && line.includes('identity.locked')));
  });
}

test('A13: a handshake, a head or a body at no speed at all is given up', { timeout: 30_000 }, async (t) => {
  const registry = await authorityRegistry(t, 'r1', await embedded(t));
  const began = performance.now();
  const silent = connect({ host: '127.0.0.1', port: registry.enrolPort });
  silent.on('error', () => undefined);
  const silentEnd = new Promise<void>((resolve) => silent.once('close', () => resolve()));
  const [head, body] = await Promise.all([
    sendRaw(registry, 'POST /v1/join HTTP/1.1\r\nhost: x\r\n'),
    sendRaw(registry, post('/v1/join', '{"secret":', { 'content-length': '100' })),
    silentEnd,
  ]);
  assert.ok([0, 408].includes(head.status) && [0, 400, 408].includes(body.status), `${head.status} ${body.status}`);
  assert.ok(performance.now() - began < 12_000);
});

test('A13: connections of one address are bounded, and others are served meanwhile', { timeout: 30_000 }, async (t) => {
  const registry = await authorityRegistry(t, 'r1', await embedded(t));
  const sockets = Array.from({ length: 80 }, () => {
    const socket = connect({ host: '127.0.0.1', port: registry.enrolPort, localAddress: '127.0.0.9' });
    socket.on('error', () => undefined);
    t.after(() => socket.destroy());
    return new Promise<boolean>((resolve) => {
      socket.once('close', () => resolve(true));
      setTimeout(() => resolve(false), 1_000);
    });
  });
  const token = await makeToken(registry);
  assert.equal((await sendRaw(registry, post('/v1/join', joinBody(token)), { from: '127.0.0.8' })).status, 200);
  const closed = (await Promise.all(sockets)).filter(Boolean).length;
  assert.ok(closed >= 16, `${closed} were closed`);
});

test('A25: no secret of a join shows up in logs, audit lines or answers', async (t) => {
  const dataDir = await folder(t);
  const file = join(dataDir, 'audit.jsonl');
  const audit = { required: true, file };
  const registry = await authorityRegistry(t, 'r1', await embedded(t), { dataDir, audit });
  const token = await makeToken(registry);
  const { stored } = await enrol(t, registry, token);
  await sendRaw(registry, post('/v1/join', joinBody(token, { name: 'a2' })));
  const metrics = await (await fetch(`http://127.0.0.1:${registry.opsPort}/metrics`)).text();
  const everything = [...registry.lines, readFileSync(file, 'utf8'), metrics].join('\n');
  const keyLine = stored.material.key.split('\n')[1] ?? '';
  for (const secret of [token.secret.reveal(), joinTokenHash(token.secret.reveal()), keyLine, 'PRIVATE KEY']) {
    assert.ok(secret.length > 8 && !everything.includes(secret), 'a secret was written down');
  }
  assert.match(everything, /"identity\.joined"/);
});
