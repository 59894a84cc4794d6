import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseAuthority } from './authority.ts';

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);

test('reads every node, leaf cluster and port back', () => {
  fc.assert(
    fc.property(label, label, fc.integer({ min: 1, max: 65_535 }), (node, leaf, port) => {
      assert.deepEqual(parseAuthority(`${node}.${leaf}:${port}`), { ok: true, authority: { node, leaf, port } });
      assert.deepEqual(parseAuthority(`${node}.${leaf}`), { ok: true, authority: { node, leaf, port: 0 } });
    }),
  );
});

test('folds upper case, as DNS does', () => {
  assert.deepEqual(parseAuthority('Web.BERLIN:80'), { ok: true, authority: { node: 'web', leaf: 'berlin', port: 80 } });
});

for (const [text, problem] of [
  ['', /is empty/],
  ['web', /1 part/],
  ['web:22', /1 part/],
  ['web.berlin.example:22', /3 parts/],
  ['10.0.0.1:22', /4 parts/],
  ['web.berlin.:22', /3 parts/],
  ['.berlin:22', /"" cannot name a node/],
  ['web.:22', /"" cannot name a leaf cluster/],
  ['-web.berlin:22', /"-web" cannot name a node/],
  ['web.berlin-:22', /"berlin-" cannot name a leaf cluster/],
  [`${'a'.repeat(64)}.berlin:22`, /cannot name a node/],
  ['web.berlin:', /"" is not a port/],
  ['web.berlin:0', /"0" is not a port/],
  ['web.berlin:65536', /"65536" is not a port/],
  ['web.berlin:022', /"022" is not a port/],
  ['web.berlin:2e1', /"2e1" is not a port/],
  ['web.berlin:+22', /holds "\+"/],
  ['web.berlin:22 ', /holds " "/],
  [' web.berlin:22', /holds " "/],
  ['user@web.berlin:22', /holds "@"/],
  ['user:pw@web.berlin:22', /holds "@"/],
  ['http://web.berlin', /holds "\/"/],
  ['web.berlin:22/path', /holds "\/"/],
  ['web.berlin:22\r\nHost: x', /holds "\\r"/],
  ['web.berlin\0:22', /holds "\\u0000"/],
  ['wéb.berlin:22', /holds "é"/],
  ['web_1.berlin:22', /holds "_"/],
  ['[::1]:22', /holds "\["/],
  ['::1', /more than one ":"/],
  ['web.berlin:22:23', /more than one ":"/],
  [`web.berlin:${'1'.repeat(200)}`, /characters long/],
] as const) {
  test(`refuses ${JSON.stringify(text.slice(0, 40))} and says why`, () => {
    const result = parseAuthority(text);
    assert.equal(result.ok, false);
    assert.match(result.ok ? '' : result.problem, problem);
    assert.match(result.ok ? '' : result.problem, /^[\x20-\x7eé]*$/, 'one printable line');
  });
}

test('demands a port where it must be named', () => {
  const result = parseAuthority('web.berlin', 'required');
  assert.match(result.ok ? '' : result.problem, /names no port/);
});

test('never throws, and accepts only what it would print the same way', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
      const result = parseAuthority(text);
      if (!result.ok) return;
      const { node, leaf, port } = result.authority;
      assert.equal(text.toLowerCase(), port === 0 ? `${node}.${leaf}` : `${node}.${leaf}:${port}`);
    }),
  );
});
