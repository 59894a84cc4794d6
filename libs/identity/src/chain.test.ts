// Side effect, and first: @peculiar/x509 does not load without it.
import 'reflect-metadata';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ExtendedKeyUsage, Extension, KeyUsageFlags } from '@peculiar/x509';
import type { JsonGeneralNames, X509Certificate } from '@peculiar/x509';
import { createAuthority } from './authority.ts';
import { completeChain, readVerifiedEndEntity, verifyChain, verifyChainInFull } from './chain.ts';
import { generateKeyPair, makeIdentityCertificate, makeIntermediateCertificate, validity } from './certificate.ts';
import type { Signer } from './certificate.ts';
import { makePrivateKey, requestFor } from './certificate-request.ts';
import { openIntermediateIssuer, readIntermediate, renewIntermediate } from './intermediate.ts';
import type { CertificateIssuer } from './issuer.ts';
import { derOfPem, pemOfDer } from './pem.ts';
import { openRootFolder } from './root-folder.ts';
import { forge, forgeRoot } from './testing/forged.ts';
import type { Wish } from './testing/forged.ts';

const DOMAIN = 'xylem.internal';
const HOUR_MS = 3_600_000;
const CLIENT = { domain: DOMAIN, eku: 'client' } as const;
const AGENT = { kind: 'agent', leaf: 'berlin', agent: 'a1' } as const;
const NOW = Date.now();

async function endEntity(signer: Signer, wish: Wish = {}): Promise<Uint8Array> {
  return (await forge(signer, wish)).der;
}

async function intermediate(signer: Signer, ttlMs = 5 * HOUR_MS): Promise<Signer> {
  const keys = await generateKeyPair();
  const lifetime = validity(NOW, ttlMs);
  const certificate = await makeIntermediateCertificate('intermediate', keys.publicKey, lifetime, signer);
  return { certificate, privateKey: keys.privateKey };
}

function derOf(certificate: X509Certificate): Uint8Array {
  return new Uint8Array(certificate.rawData);
}

function problemWith(chain: readonly Uint8Array[], trust: string, nowMs = NOW): string {
  const result = verifyChain(chain, trust, nowMs, CLIENT);
  return result.kind === 'problem' ? result.detail : `accepted ${result.kind}`;
}

describe('a chain shown outside a handshake', () => {
  let anchor: Signer;
  let issuer: Signer;
  let trust: string;
  before(async () => {
    anchor = await forgeRoot();
    issuer = await intermediate(anchor);
    trust = pemOfDer(derOf(anchor.certificate));
  });
  const chainOf = async (wish: Wish = {}): Promise<Uint8Array[]> => [
    await endEntity(issuer, wish),
    derOf(issuer.certificate),
  ];

  it('says who it is, with or without the root, directly under it or not', async () => {
    const chain = await chainOf();
    assert.deepEqual(verifyChain(chain, trust, NOW, CLIENT), AGENT);
    assert.deepEqual(verifyChain([...chain, derOf(anchor.certificate)], trust, NOW, CLIENT), AGENT);
    assert.deepEqual(verifyChain([await endEntity(anchor)], trust, NOW, CLIENT), AGENT);
    const verified = verifyChainInFull(chain, trust, NOW, CLIENT);
    assert.ok(verified.kind === 'verified');
    assert.deepEqual(Buffer.from(verified.root), Buffer.from(derOf(anchor.certificate)));
  });

  it('A1: is refused when it leads elsewhere, lacks a part, or is none', async () => {
    const chain = await chainOf();
    const nowhere = /does not lead to a root/;
    assert.match(problemWith(chain, pemOfDer(derOf((await forgeRoot()).certificate))), nowhere);
    assert.match(problemWith(chain, ''), nowhere);
    assert.match(problemWith(chain.slice(0, 1), trust), nowhere);
    assert.match(problemWith(chain.toReversed(), trust), /authority|root|signed/);
    assert.match(problemWith([...chain, ...chain, ...chain], trust), /more than 4/);
    assert.match(problemWith([], trust), /no certificate/);
    assert.match(problemWith([Buffer.from('nonsense')], trust), /no X\.509/);
    assert.match(problemWith([Buffer.from(pemOfDer(...chain.slice(0, 1))), ...chain.slice(1)], trust), /no X\.509/);
    assert.match(problemWith([Buffer.concat([chain[0] ?? Buffer.alloc(0), Buffer.alloc(1)])], trust), /no X\.509/);
    assert.match(problemWith([Buffer.alloc(9_000)], trust), /no X\.509/);
  });

  it('A1: is refused when somebody else signed any part of it', async () => {
    const other = await intermediate(await forgeRoot());
    const foreign = await endEntity(other);
    assert.match(problemWith([foreign, derOf(issuer.certificate)], trust), /is not signed by the next one/);
    const [first = Buffer.alloc(0), ...rest] = await chainOf();
    const changed = Buffer.from(first);
    changed[changed.length - 3] = (changed[changed.length - 3] ?? 0) ^ 1;
    assert.match(problemWith([changed, ...rest], trust), /is not signed by the next one/);
  });

  it('A1: is refused before and after its time, also that of an issuer', async () => {
    assert.match(problemWith(await chainOf({ from: NOW + 1_000 }), trust), /the certificate is not valid yet/);
    assert.match(problemWith(await chainOf({ to: NOW - 1_000 }), trust), /the certificate has expired/);
    const old = await intermediate(anchor, HOUR_MS);
    const outlives = [await endEntity(old, { to: NOW + 9 * HOUR_MS }), derOf(old.certificate)];
    assert.match(problemWith(outlives, trust, NOW + 2 * HOUR_MS), /the issuer certificate 1 has expired/);
    const long = [await endEntity(anchor, { to: NOW + 90 * HOUR_MS })];
    assert.match(problemWith(long, trust, NOW + 20 * HOUR_MS), /the root has expired/);
  });

  it('A1: is refused when an end entity is an authority, or signs as if it were one', async () => {
    assert.match(problemWith(await chainOf({ ca: true }), trust), /that of an authority/);
    const leafKeys = await generateKeyPair();
    const lifetime = validity(NOW, HOUR_MS);
    const leaf = await makeIdentityCertificate(AGENT, DOMAIN, leafKeys.publicKey, lifetime, issuer);
    const signer = { certificate: leaf, privateKey: leafKeys.privateKey };
    const forged = [await endEntity(signer), derOf(leaf), derOf(issuer.certificate)];
    assert.match(problemWith(forged, trust), /is not signed by the next one|is not the certificate of an authority/);
  });

  it('A1: is refused when an intermediate signed another authority', async () => {
    const second = await intermediate(issuer);
    const long = [await endEntity(second), derOf(second.certificate), derOf(issuer.certificate)];
    assert.match(problemWith(long, trust), /may not sign other authorities/);
  });

  it('A1: is refused for the wrong usages', async () => {
    const serverOnly = await chainOf({ usages: [ExtendedKeyUsage.serverAuth] });
    assert.match(problemWith(serverOnly, trust), /not one for a client/);
    assert.match(problemWith(await chainOf({ usages: [ExtendedKeyUsage.codeSigning] }), trust), /not one for a client/);
    assert.match(problemWith(await chainOf({ keyUsages: KeyUsageFlags.keyEncipherment }), trust), /may not sign/);
    const verdict = verifyChain(await chainOf(), trust, NOW, { domain: DOMAIN, eku: 'server' });
    assert.ok(verdict.kind === 'problem' && verdict.detail.includes('not one for a server'));
  });

  it('A1: is refused unless it names exactly one identity of the domain, to the letter', async () => {
    const url = (value: string): JsonGeneralNames => [{ type: 'url', value }];
    const base = `spiffe://${DOMAIN}/leaf/berlin/agent/a1`;
    const wrong = [
      [...url(base), ...url(`spiffe://${DOMAIN}/leaf/tokyo/agent/a1`)],
      [{ type: 'dns', value: 'a1.xylem.internal' }] satisfies JsonGeneralNames,
      url('spiffe://other.internal/leaf/berlin/agent/a1'),
      url(`spiffe://${DOMAIN}/leaf/berlin%2ftokyo/agent/a1`),
      url(`spiffe://${DOMAIN}/leaf/../agent/a1`),
      url(`spiffe://${DOMAIN}/leaf/Berlin/agent/a1`),
      url(`spiffe://${DOMAIN}/leaf/berlin/agent/a1\0`),
      url(`${base}/`),
      url(`SPIFFE://${DOMAIN}/leaf/berlin/agent/a1`),
    ];
    for (const names of wrong)
      assert.match(problemWith(await chainOf({ names }), trust), /name|domain/, JSON.stringify(names));
  });

  it('is refused for a critical extension that is not understood', async () => {
    const unknown = new Extension('1.2.3.4.5', true, new Uint8Array([5, 0]));
    assert.match(problemWith(await chainOf({ extra: [unknown] }), trust), /critical extension/);
    const harmless = new Extension('1.2.3.4.5', false, new Uint8Array([5, 0]));
    assert.deepEqual(verifyChain(await chainOf({ extra: [harmless] }), trust, NOW, CLIENT), AGENT);
  });

  it('is completed with the intermediate that signed it, and with no other', async () => {
    const [leaf = Buffer.alloc(0), own = Buffer.alloc(0)] = await chainOf();
    const other = derOf((await intermediate(anchor)).certificate);
    assert.deepEqual(verifyChain(completeChain([leaf], [other, own]), trust, NOW, CLIENT), AGENT);
    assert.deepEqual(completeChain([leaf], [other]), [leaf]);
    assert.deepEqual(completeChain([leaf, other], [own]), [leaf, other]);
    assert.deepEqual(completeChain([Buffer.from('x')], [own]), [Buffer.from('x')]);
  });

  it('of which TLS has verified all but the end entity is checked the same way', async () => {
    const read = async (wish: Wish): Promise<string> => {
      const verified = readVerifiedEndEntity(await endEntity(issuer, wish), NOW, CLIENT);
      return verified.kind === 'problem' ? verified.detail : verified.identity.kind;
    };
    assert.equal(await read({}), 'agent');
    assert.match(await read({ to: NOW - 1_000 }), /has expired/);
    assert.match(await read({ ca: true }), /authority/);
    assert.match(await read({ usages: [ExtendedKeyUsage.serverAuth] }), /not one for a client/);
    assert.match(await read({ names: [] }), /no URI name/);
  });
});

describe('intermediates', () => {
  const directory = mkdtempSync(join(tmpdir(), 'xylem-roots-'));
  after(() => rmSync(directory, { recursive: true }));

  it('sign end entities that lead to the root, also after everything was opened again', async () => {
    const path = join(directory, 'intermediate.pem');
    const made = await (await openRootFolder(join(directory, 'roots'), { domain: DOMAIN })).create();
    const roots = await openRootFolder(join(directory, 'roots'), { domain: DOMAIN });
    assert.deepEqual(roots.list(), [made]);
    const signed = await renewIntermediate(path, made.pem, (request) =>
      roots.signIntermediate(made.fingerprint, request, HOUR_MS),
    );
    assert.equal(signed.root, made.fingerprint);
    const signer: CertificateIssuer = await openIntermediateIssuer({
      domain: DOMAIN,
      intermediate: signed,
      trust: () => made.pem,
    });
    const issued = await signer.issue(AGENT, 2 * HOUR_MS);
    assert.equal(issued.root, made.fingerprint);
    assert.ok(issued.notAfterMs <= signed.notAfterMs, 'nothing outlives what signed it');
    assert.deepEqual(verifyChain(derOfPem(issued.cert), made.pem, Date.now(), CLIENT), AGENT);
  });

  it('are kept only when they are for the key that was asked with: what was kept before stays', async () => {
    const roots = await openRootFolder(join(directory, 'other-key'), { domain: DOMAIN });
    const { fingerprint, pem } = await roots.create();
    const path = join(directory, 'for-its-key.pem');
    const sign = (request: string): Promise<string> => roots.signIntermediate(fingerprint, request, HOUR_MS);
    const first = await renewIntermediate(path, pem, sign);
    const { request } = await requestFor(await makePrivateKey());
    await assert.rejects(
      renewIntermediate(path, pem, () => sign(request)),
      /signed for another key/,
    );
    assert.equal(readIntermediate(path, pem)?.cert, first.cert);
  });

  it('are kept only when a trusted root signed them', async () => {
    const other = await createAuthority({ domain: DOMAIN });
    const path = join(directory, 'foreign.pem');
    const roots = await openRootFolder(join(directory, 'more'), { domain: DOMAIN });
    const { fingerprint } = await roots.create();
    const sign = (request: string): Promise<string> => roots.signIntermediate(fingerprint, request, HOUR_MS);
    await assert.rejects(renewIntermediate(path, other.ca, sign), /foreign\.pem: was not signed by a root/);
    await assert.rejects(roots.signIntermediate('00', 'x', HOUR_MS), /is not held here/);
    await assert.rejects(roots.signIntermediate(fingerprint, 'x', HOUR_MS), /certificate request: is not PKCS #10/);
  });
});
