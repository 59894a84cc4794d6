import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FIRST_EPOCH, LAST_EPOCH, toFence, toIncarnation, toToken } from './fence.ts';
import { isAgentId, isInstanceNonce, isLeafId, isProxyId } from './ids.ts';
import { claimKey, memberKey, parseKey, PREFIX, PREFIX_END, sessionKey } from './keys.ts';
import { decodeClaim, decodeEpoch, decodeMember, decodeSession, encodeEpoch, encodeRecord } from './records.ts';

const name = fc.stringMatching(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/);
const proxy = name.filter(isProxyId);
const big = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n });
/** Plain objects, as decoding makes them. */
const PLAIN = { noNullPrototype: true };
const nonce = fc.stringMatching(/^[A-Za-z0-9._:-]{1,64}$/).filter(isInstanceNonce);

test('keys are read as they were made, under the prefix that is watched', () => {
  fc.assert(
    fc.property(name.filter(isLeafId), proxy, fc.nat(63), (leaf, id, slot) => {
      assert.deepEqual(parseKey(memberKey(id)), { kind: 'member', proxy: id });
      assert.deepEqual(parseKey(sessionKey(id)), { kind: 'session', proxy: id });
      assert.deepEqual(parseKey(claimKey({ leaf, proxy: id, slot })), {
        kind: 'claim',
        claim: { leaf, proxy: id, slot },
      });
      for (const key of [memberKey(id), sessionKey(id), claimKey({ leaf, proxy: id, slot })])
        assert.ok(key >= PREFIX && key < PREFIX_END);
    }),
  );
});

test('any other key is foreign', () => {
  for (const key of [
    '',
    '/',
    PREFIX,
    '/xylem/v1/proxies/',
    '/xylem/v1/proxies/P',
    '/xylem/v1/proxies/a/b',
    '/xylem/v1/claims/a/b',
    '/xylem/v1/claims/a/b/64',
    '/xylem/v1/claims/a/b/01',
    '/xylem/v1/claims/a/b/1/',
    '/xylem/v2/epoch',
  ]) {
    assert.deepEqual(parseKey(key), { kind: 'foreign' }, key);
  }
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => assert.doesNotThrow(() => parseKey(`${PREFIX}${text}`))),
  );
});

test('records are read as they were written', () => {
  const text = fc.string({ unit: 'binary', maxLength: 40 });
  const member = fc.record(
    {
      nonce,
      peerAddress: text,
      tunnelAddress: text,
      generation: fc.nat(),
      software: text,
      draining: fc.boolean(),
      epoch: big,
    },
    PLAIN,
  );
  const session = fc.record({ registry: text, boot: text, session: text, nonce, address: text, since: text }, PLAIN);
  const claim = fc.record({ agent: name.filter(isAgentId), nonce: text, incarnation: big, epoch: big }, PLAIN);
  fc.assert(fc.property(member, (record) => assert.deepEqual(decodeMember(encodeRecord(record)), record)));
  fc.assert(fc.property(session, (record) => assert.deepEqual(decodeSession(encodeRecord(record)), record)));
  fc.assert(fc.property(claim, (record) => assert.deepEqual(decodeClaim(encodeRecord(record)), record)));
  fc.assert(fc.property(big, (epoch) => assert.equal(decodeEpoch(encodeEpoch(epoch)), epoch)));
});

test('nothing that is not a record is taken for one, and nothing makes reading it fail', () => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.json(),
    fc.constantFrom('null', '[]', '{"__proto__":{"nonce":"x"}}', '{"epoch":"-1"}', '1e999'),
  );
  fc.assert(
    fc.property(hostile, (text) => {
      assert.equal(decodeMember(text), undefined);
      assert.equal(decodeSession(text), undefined);
      assert.equal(decodeClaim(text), undefined);
    }),
  );
});

test('fences rise with the revision within an epoch, and with the epoch whatever the revision', () => {
  const fence = fc.record(
    {
      epoch: fc.bigInt({ min: FIRST_EPOCH, max: LAST_EPOCH - 1n }),
      createRevision: fc.bigInt({ min: 0n, max: 2n ** 44n - 1n }),
    },
    PLAIN,
  );
  fc.assert(
    fc.property(fence, fence, (a, b) => {
      assert.deepEqual(toFence(toToken(a)), a);
      assert.ok(toToken(a) < 2n ** 63n);
      const before = a.epoch < b.epoch || (a.epoch === b.epoch && a.createRevision < b.createRevision);
      assert.equal(toIncarnation(a) < toIncarnation(b), before);
    }),
  );
  assert.equal(
    toToken({ epoch: FIRST_EPOCH, createRevision: 42n }),
    42n,
    'in a store that was never restored a token is a create_revision',
  );
});
