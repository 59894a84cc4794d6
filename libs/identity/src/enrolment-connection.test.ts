// Side effect, and first: @peculiar/x509 does not load without it.
import 'reflect-metadata';
import assert from 'node:assert/strict';
import { createServer } from 'node:tls';
import { after, before, describe, it } from 'node:test';
import { ExtendedKeyUsage, KeyUsageFlags } from '@peculiar/x509';
import type { JsonGeneralName } from '@peculiar/x509';
import type { Signer } from './certificate.ts';
import { EnrolmentError } from './enrolment-error.ts';
import { probeEnrolment } from './enrolment.ts';
import type { EnrolmentAddress } from './identity-folder.ts';
import { shownRoot } from './login.ts';
import { pemOfDer } from './pem.ts';
import { DOMAIN } from './testing/enrolment-stand-in.ts';
import { forge, forgeRoot } from './testing/forged.ts';
import type { Wish } from './testing/forged.ts';

const REGISTRY: JsonGeneralName = { type: 'url', value: `spiffe://${DOMAIN}/registry/r1` };
const SERVER = { names: [REGISTRY], usages: [ExtendedKeyUsage.serverAuth] } as const;

const REFUSED: readonly (readonly [string, Wish, RegExp])[] = [
  ['an authority', { ca: true, keyUsages: KeyUsageFlags.digitalSignature | KeyUsageFlags.keyCertSign }, /authority/],
  ['a client', { usages: [ExtendedKeyUsage.clientAuth] }, /server|purpose/],
  ['who may not sign handshakes', { keyUsages: KeyUsageFlags.keyAgreement }, /sign handshakes|closed|usage|alert/i],
  ['two registries', { names: [REGISTRY, { type: 'url', value: `spiffe://${DOMAIN}/registry/r2` }] }, /2 URI names/],
  ['a DNS name that looks like one', { names: [{ type: 'dns', value: `a, URI:${REGISTRY.value}` }] }, /no URI name/],
  ['a root proxy', { names: [{ type: 'url', value: `spiffe://${DOMAIN}/proxy/p1` }] }, /root|proxy p1/],
];

describe('whoever answers at an enrolment address', { timeout: 30_000 }, () => {
  let anchor: Signer;
  let trust: string;
  before(async () => {
    anchor = await forgeRoot();
    trust = pemOfDer(new Uint8Array(anchor.certificate.rawData));
  });
  const closers: (() => void)[] = [];
  after(() => closers.forEach((close) => close()));

  const shows = async (wish: Wish): Promise<EnrolmentAddress> => {
    const { der, key } = await forge(anchor, {
      ...SERVER,
      names: [...SERVER.names],
      usages: [...SERVER.usages],
      ...wish,
    });
    const server = createServer({ cert: `${pemOfDer(der)}${trust}`, key, minVersion: 'TLSv1.3' });
    server.on('tlsClientError', () => undefined);
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    closers.push(() => server.close());
    const bound = server.address();
    assert.ok(bound !== null && typeof bound === 'object');
    return { host: '127.0.0.1', port: bound.port };
  };

  it('is taken for a registry with the certificate of one', async () => {
    const address = await shows({});
    await probeEnrolment(address, DOMAIN, trust);
    assert.equal(await shownRoot([address], DOMAIN), trust);
  });

  for (const [who, wish, text] of REFUSED) {
    it(`is no registry with the certificate of ${who}, signed by a trusted root as it may be`, async () => {
      const address = await shows(wish);
      const isRefused = (error: unknown): boolean => {
        assert.ok(error instanceof EnrolmentError, String(error));
        assert.match(error.message, text);
        return error.stage === 'tls';
      };
      await assert.rejects(probeEnrolment(address, DOMAIN, trust), isRefused);
      await assert.rejects(shownRoot([address], DOMAIN), isRefused);
    });
  }
});
