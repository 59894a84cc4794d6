import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { explore } from './explorer.ts';
import { GUARDS } from './guards.ts';
import { DEFAULT_BOUNDS } from './state.ts';
import { wander } from './walk.ts';

/** Enough for each guard that has to be missed. */
const MAX_STATES = 40_000;

suite('explorer of the claim cores', () => {
  test('finds no broken promise in the protocol as it is', () => {
    const { found, strata } = explore({ maxStates: 15_000 });
    assert.equal(found, undefined, found?.lines.join('\n'));
    assert.deepEqual({ faults: strata[0]?.faults, complete: strata[0]?.complete }, { faults: 0, complete: true });
    const { found: met } = wander({ walks: 1_000 });
    assert.equal(met, undefined, met?.lines.join('\n'));
  });

  test('visits every state of one tunnel without a fault, and says so', () => {
    const { strata } = explore({ maxStates: 1_000, bounds: { ...DEFAULT_BOUNDS, faults: 0, attaches: 1 } });
    assert.equal(strata.length, 1);
    assert.equal(strata[0]?.complete, true);
  });

  for (const guard of GUARDS) {
    test(
      guard.covered === undefined
        ? `misses the guard ${guard.name}`
        : `does not miss the guard ${guard.name}, which others cover`,
      () => {
        const { found } = explore({ without: guard.name, maxStates: guard.covered === undefined ? MAX_STATES : 5_000 });
        assert.equal(found === undefined, guard.covered !== undefined, found?.lines.join('\n'));
        if (found !== undefined) assert.match(found.violation.promise, /^S[123]$/);
      },
    );
  }

  test('the way to a broken promise is the same each time, and ends in it', () => {
    const [one, another] = [1, 2].map(() => explore({ without: 'release-token', maxStates: MAX_STATES }));
    assert.deepEqual(one?.found, another?.found);
    assert.match(one?.found?.lines.join('\n') ?? '', /the late operation/);
    assert.match(one?.found?.violation.detail ?? '', /was deleted/);
  });
});
