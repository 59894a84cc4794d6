// Side effect, and first: @peculiar/x509 does not load without it.
import 'reflect-metadata';
import assert from 'node:assert/strict';
import { X509Certificate, webcrypto } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect, createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509';
import { createAuthority, openAuthority } from './authority.ts';
import type { Authority } from './authority.ts';
import type { IssuedCertificate } from './issuer.ts';

const DOMAIN = 'xylem.internal';
const HOUR_MS = 3_600_000;
const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

async function requestFor(algorithm: { name: string; namedCurve: string; hash: string }): Promise<string> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: 'CN=root',
    keys,
    signingAlgorithm: algorithm,
  });
  return request.toString('pem');
}

/** The client's view of one mTLS handshake: an error, or what both ends saw. */
async function handshake(server: IssuedCertificate, client: IssuedCertificate, servername: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const listener = createServer(
    { ca: server.ca, cert: server.cert, key: server.key.reveal(), requestCert: true, minVersion: 'TLSv1.3' },
    (socket: TLSSocket) => {
      resolve(socket.getPeerX509Certificate()?.subjectAltName ?? 'none');
      socket.destroy();
    },
  );
  listener.on('tlsClientError', (error) => resolve(`server: ${error.message}`));
  await new Promise<void>((ready) => listener.listen(0, '127.0.0.1', ready));
  const address = listener.address();
  assert.ok(address !== null && typeof address === 'object');
  const socket = connect({
    port: address.port,
    host: '127.0.0.1',
    servername,
    ca: client.ca,
    cert: client.cert,
    key: client.key.reveal(),
  });
  socket.on('error', (error) => resolve(`client: ${error.message}`));
  const seen = await promise;
  socket.destroy();
  listener.close();
  return seen;
}

describe('authority', () => {
  let authority: Authority;
  let directory: string;
  before(async () => {
    authority = await createAuthority({ domain: DOMAIN });
    directory = mkdtempSync(join(tmpdir(), 'xylem-ca-'));
  });
  after(() => rmSync(directory, { recursive: true }));

  it('gives each kind exactly the names and usages of its role', async () => {
    const expected = [
      [
        { kind: 'proxy', proxy: 'p1' },
        'URI:spiffe://xylem.internal/proxy/p1, DNS:p1.xylem.internal, DNS:xylem.internal',
        2,
      ],
      [
        { kind: 'registry', registry: 'r1' },
        'URI:spiffe://xylem.internal/registry/r1, DNS:registry.xylem.internal, DNS:enrol.xylem.internal',
        2,
      ],
      [{ kind: 'agent', leaf: 'berlin', agent: 'a1' }, 'URI:spiffe://xylem.internal/leaf/berlin/agent/a1', 1],
      [{ kind: 'user', user: 'ann@example.org' }, 'URI:spiffe://xylem.internal/user/ann@example.org', 1],
    ] as const;
    for (const [identity, names, usages] of expected) {
      const certificate = new X509Certificate((await authority.issue(identity, HOUR_MS)).cert);
      assert.equal(certificate.subjectAltName, names);
      assert.equal(certificate.keyUsage?.length, usages);
      assert.ok(certificate.keyUsage.includes('1.3.6.1.5.5.7.3.2'));
      assert.equal(certificate.ca, false);
      assert.ok(certificate.verify(new X509Certificate(authority.ca).publicKey));
    }
  });

  it('makes pairs that complete a mutual TLS 1.3 handshake, and agents cannot serve', async () => {
    const proxy = await authority.issue({ kind: 'proxy', proxy: 'p1' }, HOUR_MS);
    const agent = await authority.issue({ kind: 'agent', leaf: 'berlin', agent: 'a1' }, HOUR_MS);
    assert.equal(
      await handshake(proxy, agent, 'p1.xylem.internal'),
      'URI:spiffe://xylem.internal/leaf/berlin/agent/a1',
    );
    assert.match(await handshake(proxy, agent, 'p2.xylem.internal'), /^client: .*altnames/);
    assert.match(await handshake(agent, proxy, 'xylem.internal'), /^client: /);
  });

  it('refuses a certificate of another authority', async () => {
    const other = await createAuthority({ domain: DOMAIN });
    const proxy = await authority.issue({ kind: 'proxy', proxy: 'p1' }, HOUR_MS);
    const stranger = {
      ...(await other.issue({ kind: 'agent', leaf: 'berlin', agent: 'a1' }, HOUR_MS)),
      ca: authority.ca,
    };
    assert.match(await handshake(proxy, stranger, 'p1.xylem.internal'), /^server: /);
  });

  it('starts certificates before now, ends them on time and never after its own end', async () => {
    const now = Date.UTC(2026, 0, 1);
    const short = await createAuthority({ domain: DOMAIN, now: () => now, ttlMs: HOUR_MS });
    const issued = await short.issue({ kind: 'proxy', proxy: 'p1' }, HOUR_MS / 2);
    assert.equal(issued.notAfterMs, now + HOUR_MS / 2);
    assert.ok(Date.parse(new X509Certificate(issued.cert).validFrom) < now);
    assert.equal((await short.issue({ kind: 'proxy', proxy: 'p1' }, 10 * HOUR_MS)).notAfterMs, now + HOUR_MS);
    await assert.rejects(short.issue({ kind: 'proxy', proxy: 'p1' }, 0), RangeError);
  });

  it('signs the key of a request and takes nothing else from it', async () => {
    const signed = await authority.sign({ kind: 'agent', leaf: 'tokyo', agent: 'a1' }, await requestFor(EC), HOUR_MS);
    const certificate = new X509Certificate(signed.cert);
    assert.equal(certificate.subjectAltName, 'URI:spiffe://xylem.internal/leaf/tokyo/agent/a1');
    assert.equal(certificate.subject, 'CN=xylem');
    assert.equal(signed.fingerprint, certificate.fingerprint256.replaceAll(':', '').toLowerCase());
  });

  it('refuses requests that are not its own kind', async () => {
    const identity = { kind: 'agent', leaf: 'tokyo', agent: 'a1' } as const;
    await assert.rejects(authority.sign(identity, 'nonsense', HOUR_MS), /certificate request: is not PKCS #10/);
    const p384 = await requestFor({ name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-256' });
    await assert.rejects(authority.sign(identity, p384, HOUR_MS), /does not carry an ECDSA P-256 key/);
    const der = Buffer.from((await requestFor(EC)).replace(/-----.*-----|\s/g, ''), 'base64');
    der[der.length - 1] = (der[der.length - 1] ?? 0) ^ 1;
    const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----`;
    await assert.rejects(authority.sign(identity, forged, HOUR_MS), /is not signed by the key it carries/);
  });

  it('keeps itself in a private directory and opens again', async () => {
    const path = join(directory, 'saved');
    await authority.save(path);
    assert.equal(statSync(path).mode & 0o777, 0o700);
    assert.equal(statSync(join(path, 'ca.key')).mode & 0o777, 0o600);
    const opened = await openAuthority(path, { domain: DOMAIN });
    assert.equal(opened.ca, authority.ca);
    const issued = await opened.issue({ kind: 'proxy', proxy: 'p9' }, HOUR_MS);
    assert.ok(new X509Certificate(issued.cert).verify(new X509Certificate(authority.ca).publicKey));
  });

  it('refuses a key that others can read, and says what to do', async () => {
    const path = join(directory, 'open');
    await authority.save(path);
    chmodSync(join(path, 'ca.key'), 0o640);
    await assert.rejects(openAuthority(path, { domain: DOMAIN }), /ca\.key: private key is accessible .* chmod 600/);
  });

  it('refuses a directory that is empty, broken, mixed up or of another domain', async () => {
    await assert.rejects(
      openAuthority(join(directory, 'none'), { domain: DOMAIN }),
      /ca\.pem: cannot be read: no such file/,
    );
    const path = join(directory, 'mixed');
    await authority.save(path);
    await assert.rejects(
      openAuthority(path, { domain: 'other.internal' }),
      /belongs to another domain than other\.internal/,
    );
    const other = join(directory, 'other');
    await (await createAuthority({ domain: DOMAIN })).save(other);
    writeFileSync(join(path, 'ca.pem'), (await openAuthority(other, { domain: DOMAIN })).ca);
    await assert.rejects(openAuthority(path, { domain: DOMAIN }), /ca\.key: does not belong to ca\.pem/);
    writeFileSync(join(path, 'ca.key'), 'nonsense');
    await assert.rejects(openAuthority(path, { domain: DOMAIN }), /is not an ECDSA P-256 private key/);
  });
});
