import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SeenConnections } from './seen-connections.ts';
import { Suspicion } from './suspicion.ts';

const MINUTE_MS = 60_000;

describe('names of connections', () => {
  it('are remembered for as long as a grant could be shown again, and no longer', () => {
    const seen = new SeenConnections();
    assert.equal(seen.add('p1', 'c1', 0), 'new');
    assert.equal(seen.add('p1', 'c1', 3 * MINUTE_MS), 'replay');
    assert.equal(seen.add('p1', 'c1', 3 * MINUTE_MS + 1), 'new');
  });

  it('are bounded: what cannot be remembered is not granted', () => {
    const seen = new SeenConnections(2);
    assert.deepEqual(
      ['c1', 'c2', 'c3', 'c1'].map((name) => seen.add('p1', name, 0)),
      ['new', 'new', 'full', 'replay'],
    );
    assert.equal(seen.add('p2', 'c3', 0), 'new', 'another root proxy has its own share');
    assert.equal(seen.add('p1', 'c3', 4 * MINUTE_MS), 'new');
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
