import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { X509Certificate } from 'node:crypto';
import { after, afterEach, before, describe, it } from 'node:test';
import { createAuthority } from './authority.ts';
import { joinByToken, renewIdentity } from './enrolment.ts';
import type { JoinAs, JoinOptions } from './enrolment.ts';
import { EnrolmentError } from './enrolment-error.ts';
import { readIdentityFolder } from './identity-folder.ts';
import { DOMAIN, EnrolmentStandIn } from './testing/enrolment-stand-in.ts';

const AGENT: JoinAs = { role: 'agent', name: 'a1' };

describe('enrolment', { timeout: 60_000 }, () => {
  const root = mkdtempSync(join(tmpdir(), 'xylem-enrol-'));
  let registry: EnrolmentStandIn;
  let serial = 0;
  const folder = (): string => join(root, `f${(serial += 1)}`);
  const options = (directory: string, changed: Partial<JoinOptions> = {}): JoinOptions => ({
    directory,
    addresses: [registry.address],
    domain: DOMAIN,
    token: registry.token(),
    as: AGENT,
    ...changed,
  });
  const refusal = (status: number, code: string) => (): { status: number; json: unknown } => ({
    status,
    json: { code, error: `told ${code}`, remedy: 'do this' },
  });

  before(async () => {
    registry = await EnrolmentStandIn.start();
  });
  afterEach(() => {
    registry.reply = undefined;
    registry.seen.length = 0;
  });
  after(() => {
    registry.close();
    rmSync(root, { recursive: true });
  });

  it('joins by token: the key stays here, and the folder serves every tool', async () => {
    const directory = folder();
    const stored = await joinByToken(options(directory));
    assert.equal(stored.facts.identity, 'leaf/berlin/agent/a1');
    assert.deepEqual(readIdentityFolder(directory), stored);
    const own = new X509Certificate(readFileSync(join(directory, 'cert.pem')));
    assert.equal(own.subjectAltName, `URI:spiffe://${DOMAIN}/leaf/berlin/agent/a1`);
    assert.equal(readFileSync(join(directory, 'ca.pem'), 'utf8'), registry.authority.ca);
    assert.equal(statSync(join(directory, 'key.pem')).mode & 0o777, 0o600);
    assert.equal(statSync(directory).mode & 0o777, 0o700);
    const [seen] = registry.seen;
    assert.deepEqual([seen?.path, seen?.body.role, seen?.body.name, seen?.client], ['/v1/join', 'agent', 'a1', '']);
    assert.ok(!readdirSync(directory).includes('next-key.pem'));
  });

  it('renews with a new key, showing the certificate that is renewed and its generation', async () => {
    const directory = folder();
    const joined = await joinByToken(options(directory));
    const renewed = await renewIdentity(directory, joined.facts.enrol);
    assert.equal(renewed.facts.generation, joined.facts.generation + 1);
    assert.notEqual(renewed.material.key, joined.material.key);
    assert.deepEqual(readIdentityFolder(directory), renewed);
    const seen = registry.seen.at(-1);
    assert.deepEqual([seen?.path, seen?.body.generation], ['/v1/renew', 1]);
    assert.equal(seen?.client, `URI:spiffe://${DOMAIN}/leaf/berlin/agent/a1`);
  });

  it('repeats a request whose answer was lost with the same key', async () => {
    const directory = folder();
    registry.reply = () => 'destroy';
    const token = registry.token();
    await assert.rejects(joinByToken(options(directory, { token })), { stage: 'http', final: false });
    registry.reply = undefined;
    const joined = await joinByToken(options(directory, { token }));
    registry.reply = () => 'destroy';
    await assert.rejects(renewIdentity(directory, joined.facts.enrol), { stage: 'http' });
    assert.deepEqual(readIdentityFolder(directory), joined);
    registry.reply = undefined;
    await renewIdentity(directory, joined.facts.enrol);
    const keys = registry.seen.map(({ body }) => keyIn(body.request));
    assert.deepEqual([keys[0] === keys[1], keys[2] === keys[3], keys[1] === keys[2]], [true, true, false]);
  });

  it('sends the token to nobody but a registry that the pin vouches for', async () => {
    const other = await createAuthority({ domain: DOMAIN });
    const impostor = await EnrolmentStandIn.start({ authority: other });
    const proxy = await EnrolmentStandIn.start({
      as: { kind: 'proxy', proxy: 'p1' },
      authority: registry.authority,
    });
    const elsewhere = await EnrolmentStandIn.start({ authority: await createAuthority({ domain: 'other.internal' }) });
    try {
      await assert.rejects(joinByToken(options(folder(), { addresses: [impostor.address] })), {
        message: /^127\.0\.0\.1:\d+: the registry shows another root certificate than the one that the token pins$/,
      });
      await assert.rejects(joinByToken(options(folder(), { addresses: [proxy.address] })), {
        message: /: proxy p1 answers, not a registry$/,
      });
      const asked = options(folder(), { addresses: [elsewhere.address] });
      await assert.rejects(joinByToken(asked), /is no registry of xylem\.internal/);
      assert.deepEqual([...impostor.seen, ...proxy.seen, ...elsewhere.seen], []);
    } finally {
      for (const each of [impostor, proxy, elsewhere]) each.close();
    }
  });

  it('renews with nobody whose root it does not trust', async () => {
    const directory = folder();
    await joinByToken(options(directory));
    const impostor = await EnrolmentStandIn.start();
    try {
      await assert.rejects(renewIdentity(directory, [impostor.address]), /leads to no root that is trusted here/);
      assert.deepEqual(impostor.seen, []);
    } finally {
      impostor.close();
    }
  });

  it('tries the next address after silence, nonsense and answers that may change, and stops at one that is final', async () => {
    const mute = createServer((socket) => socket.destroy());
    await new Promise<void>((ready) => mute.listen(0, '127.0.0.1', ready));
    const { port } = mute.address() as { port: number };
    const busy = await EnrolmentStandIn.start({ authority: registry.authority });
    try {
      for (const reply of [
        refusal(503, 'unavailable'),
        refusal(429, 'too-many'),
        () => ({ status: 502, json: '<p>' }),
      ]) {
        busy.reply = reply;
        const addresses = [{ host: '127.0.0.1', port: 1 }, { host: '127.0.0.1', port }, busy.address, registry.address];
        assert.equal((await joinByToken(options(folder(), { addresses }))).facts.generation, 1);
      }
      busy.reply = refusal(401, 'token-refused');
      registry.seen.length = 0;
      const failure = joinByToken(options(folder(), { addresses: [busy.address, registry.address] }));
      await assert.rejects(failure, { message: 'told token-refused', remedy: 'do this', final: true, stage: 'answer' });
      assert.deepEqual(registry.seen, []);
    } finally {
      mute.close();
      busy.close();
    }
  });

  it('keeps what it has when the answer cannot be used', async () => {
    const directory = folder();
    const joined = await joinByToken(options(directory));
    const stranger = await createAuthority({ domain: DOMAIN });
    const foreign = (await registry.authority.issue({ kind: 'agent', leaf: 'berlin', agent: 'a1' }, 60_000)).cert;
    const broken: readonly (readonly [Record<string, unknown>, RegExp])[] = [
      [{ certificate: foreign }, /the certificate is for another key/],
      [{ certificate: '' }, /no certificate was shown/],
      [{ trust: stranger.ca }, /does not lead to a root that is trusted/],
      [{ identity: 'leaf/tokyo/agent/a1' }, /certificate and answer name different identities/],
      [{ domain: 'other.internal' }, /of the domain "other\.internal"/],
      [{ generation: 'many' }, /the answer is not one of a registry/],
      [{ padding: 'x'.repeat(70_000) }, /longer than 65536 bytes/],
    ];
    for (const [change, problem] of broken) {
      registry.reply = (granted) => ({ status: 200, json: { ...granted, ...change } });
      await assert.rejects(renewIdentity(directory, joined.facts.enrol), (error) => {
        assert.ok(error instanceof EnrolmentError && !error.final);
        assert.match(error.message, problem);
        return true;
      });
    }
    assert.deepEqual(readIdentityFolder(directory), joined);
  });

  it('refuses a certificate for somebody else than asked for', async () => {
    const asked = options(folder(), { as: { role: 'agent', leaf: 'tokyo', name: 'a1' } });
    registry.reply = (granted) => ({ status: 200, json: granted });
    assert.equal((await joinByToken(asked)).facts.identity, 'leaf/tokyo/agent/a1');
    const proxy = options(folder(), { as: { role: 'proxy', name: 'p1' } });
    assert.equal((await joinByToken(proxy)).facts.identity, 'proxy/p1');
  });

  it('does not hide files that were put into the folder by hand', async () => {
    const directory = folder();
    mkdirSync(directory);
    writeFileSync(join(directory, 'key.pem'), 'mine');
    await assert.rejects(joinByToken(options(directory)), /key\.pem: was put there by hand .* choose another folder/);
    assert.deepEqual(registry.seen, []);
  });
});

/** The public key of a PKCS #10 request, which has no variable part before it but the name. */
function keyIn(request: string): string {
  const der = Buffer.from(request.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const point = der.indexOf(Buffer.from([0x03, 0x42, 0x00, 0x04]));
  return der.subarray(point, point + 69).toString('hex');
}
