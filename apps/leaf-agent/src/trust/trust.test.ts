import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createAuthority, StatementVerifier } from '@xylem/identity';
import type { Rule } from '@xylem/policy';
import { SigningRegistry } from '../testing/registry.ts';
import { DOMAIN } from '../testing/root.ts';
import { DialAdmission } from './dial-admission.ts';
import { SeenConnections } from './seen-connections.ts';
import { Suspicion } from './suspicion.ts';

const MINUTE_MS = 60_000;
const ISSUED_MS = 1_700_000_000_000;

describe('names of connections', () => {
  it('are remembered for as long as a grant could be shown again, and no longer', () => {
    const seen = new SeenConnections();
    assert.equal(seen.add('p1', 'c1', ISSUED_MS, 0), 'new');
    assert.equal(seen.add('p1', 'c1', ISSUED_MS, 3 * MINUTE_MS), 'replay');
    assert.equal(seen.add('p1', 'c1', ISSUED_MS, 3 * MINUTE_MS + 1), 'new');
  });

  it('are bounded: what cannot be remembered is not granted', () => {
    const seen = new SeenConnections(2);
    assert.deepEqual(
      ['c1', 'c2', 'c3', 'c1'].map((name) => seen.add('p1', name, ISSUED_MS, 0)),
      ['new', 'new', 'full', 'replay'],
    );
    assert.equal(seen.add('p2', 'c3', ISSUED_MS, 0), 'new', 'another root proxy has its own share');
    assert.equal(seen.add('p1', 'c3', ISSUED_MS, 4 * MINUTE_MS), 'new');
  });

  it('leave behind what time it was when they are forgotten', () => {
    const seen = new SeenConnections();
    seen.add('p1', 'c1', ISSUED_MS, 0);
    seen.add('p2', 'c2', ISSUED_MS - 5, 1);
    assert.equal(seen.floorMs(3 * MINUTE_MS), Number.NEGATIVE_INFINITY);
    assert.equal(seen.floorMs(3 * MINUTE_MS + 2), ISSUED_MS, 'the latest of all');
  });
});

describe('a clock that is set back', () => {
  it('makes no grant good again that was used, nor a standing grant that was over', async () => {
    const authority = await createAuthority({ domain: DOMAIN });
    let wallMs = Date.now();
    let now = 0;
    const registry = await SigningRegistry.of(authority, () => wallMs);
    const verifier = new StatementVerifier({ domain: DOMAIN, trust: () => authority.ca, now: () => wallMs });
    const admission = new DialAdmission({
      leaf: 'berlin',
      agent: 'a1',
      instance: 'i1',
      verifier,
      seen: new SeenConnections(),
      now: () => now,
    });
    const dial = { leaf: 'berlin', agent: 'a1', instance: 'i1', proxy: 'p1', node: 'web', port: 80 };
    const check = async (connection: string, grant: string): Promise<string> => {
      const { node, port, proxy } = dial;
      const target = { leaf: dial.leaf, node, port };
      const request = {
        connection,
        target,
        user: '',
        timeoutMs: 1,
        incarnation: 1n,
        token: 1n,
        traceparent: '',
        grant,
      };
      const verdict = await admission.check({ request, proxy, node, port });
      return verdict.kind === 'granted' ? 'granted' : verdict.cause;
    };
    const own = (connection: string): string =>
      registry.grant({ ...dial, user: undefined, connection, policyVersion: 1 });
    const open: Rule = {
      name: 'all',
      effect: 'allow',
      subjects: [{ kind: 'anonymous' }],
      leaves: ['*'],
      targets: [{ node: '*', ports: undefined }],
    };
    const standing = registry.standing(
      { groups: new Map(), admins: [], rules: [open], cutOpenConnections: true },
      'p1',
      'berlin',
      MINUTE_MS,
    );
    const [first, unused] = [own('c1'), own('c2')];
    assert.equal(await check('c1', first), 'granted');
    const later = 10 * MINUTE_MS;
    [wallMs, now] = [wallMs + later, later];
    assert.equal(await check('c3', own('c3')), 'granted');
    [wallMs, now] = [wallMs + later, 2 * later];
    assert.equal(await check('c4', own('c4')), 'granted');
    wallMs -= 2 * later;
    assert.equal(await check('c1', first), 'replay');
    assert.equal(await check('c2', unused), 'replay');
    assert.equal(await check('c5', standing), 'invalid');
    wallMs += 2 * later;
    assert.equal(await check('c6', own('c6')), 'granted', 'all is well once the clock is right');
  });
});

describe('suspicion', () => {
  it('lasts twice as long each time, up to a minute, and ends with something true', () => {
    const suspicion = new Suspicion();
    assert.equal(suspicion.ignores(0), false);
    let now = 0;
    for (const pauseMs of [1_000, 2_000, 4_000]) {
      suspicion.refused(now);
      assert.deepEqual([suspicion.ignores(now + pauseMs - 1), suspicion.ignores(now + pauseMs)], [true, false]);
      now += pauseMs;
    }
    for (let times = 0; times < 20; times += 1) suspicion.refused(now);
    assert.deepEqual([suspicion.ignores(now + MINUTE_MS - 1), suspicion.ignores(now + MINUTE_MS)], [true, false]);
    suspicion.believed();
    suspicion.refused(now);
    assert.equal(suspicion.ignores(now + 1_000), false);
  });
});
