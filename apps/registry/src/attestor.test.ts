import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, describe, it } from 'node:test';
import { createAuthority, memoryTlsSource, StatementSigner, StatementVerifier } from '@xylem/identity';
import type { TlsSource } from '@xylem/identity';
import type { ViewMember } from '@xylem/membership';
import { Attestor } from './attestor.ts';

const DOMAIN = 'xylem.internal';

function member(proxy: string, incarnation: bigint, draining = false, generation = 0): ViewMember {
  const addresses = { peerAddress: '192.0.2.1:7201', tunnelAddress: '192.0.2.1:7200' };
  return { proxy, incarnation, draining, generation, ...addresses, instanceNonce: 'n', software: 'test', lease: 1n };
}

/** The lists of docs/PROTOCOL.md, in no order. */
const VECTORS: readonly (readonly [canonical: string, members: readonly ViewMember[]])[] = [
  ['', []],
  ['p1@0000000000000007:ready:0', [member('p1', 7n)]],
  [
    'p1@0000000000000007:ready:0 p10@00001000000001ff:ready:4294967295 p2@ffffffffffffffff:draining:1',
    [member('p2', 2n ** 64n - 1n, true, 1), member('p10', (1n << 44n) + 511n, false, 2 ** 32 - 1), member('p1', 7n)],
  ],
];

function unexpected(detail: string): never {
  throw new Error(detail);
}

describe('what a registry signs of a member list', () => {
  let source: TlsSource;
  let verifier: StatementVerifier;

  before(async () => {
    const authority = await createAuthority({ domain: DOMAIN });
    const { ca, cert, key } = await authority.issue({ kind: 'registry', registry: 'r1' }, 3_600_000);
    source = memoryTlsSource({ ca, cert, key: key.reveal() });
    verifier = new StatementVerifier({ domain: DOMAIN, trust: () => ca });
  });

  const signer = (): StatementSigner => new StatementSigner({ domain: DOMAIN, current: () => source.current() });

  it('is the digest of the canonical form in the protocol, in whatever order the members come', async () => {
    const protocol = readFileSync(new URL('../../../docs/PROTOCOL.md', import.meta.url), 'utf8');
    const attestor = new Attestor(signer(), unexpected);
    for (const [canonical, members] of VECTORS) {
      const stamp = { epoch: 2n, revision: 17n };
      const verdict = await verifier.membership(attestor.attest(stamp, members));
      assert.ok(verdict.kind === 'verified');
      const { epoch, revision, sha256 } = verdict.content;
      assert.deepEqual({ epoch, revision }, stamp);
      const shown = canonical === '' ? '(no root proxy)' : canonical;
      assert.ok(protocol.includes(`| \`${shown}\` | \`${sha256}\` |`), `docs/PROTOCOL.md lacks ${shown} ${sha256}`);
    }
  });

  it('is signed once per stamp and list, and anew after a renewal', () => {
    const attestor = new Attestor(signer(), unexpected);
    const stamp = { epoch: 1n, revision: 2n };
    const first = attestor.attest(stamp, [member('p1', 7n)]);
    assert.equal(attestor.attest(stamp, [member('p1', 7n)]), first);
    assert.notEqual(attestor.attest({ epoch: 1n, revision: 3n }, [member('p1', 7n)]), first);
    assert.notEqual(attestor.attest(stamp, [member('p1', 8n)]), first);
    const again = attestor.attest(stamp, [member('p1', 7n)]);
    attestor.renewed();
    assert.notEqual(attestor.attest(stamp, [member('p1', 7n)]), again, 'ECDSA signatures differ each time');
  });

  it('is nothing, and a problem that is told, when it cannot be signed', () => {
    const problems: string[] = [];
    const broken = { membership: () => unexpected('no key') };
    const attestor = new Attestor(broken, (detail) => problems.push(detail));
    assert.equal(attestor.attest({ epoch: 1n, revision: 2n }, []), '');
    assert.deepEqual(problems, ['no key']);
  });
});
