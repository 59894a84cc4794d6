import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { runScaled } from './scale.ts';
import type { ScalePhase } from './scale.ts';

function phasesOf(agents: number, handshakesPerSecond: number | undefined): ReadonlyMap<string, ScalePhase> {
  const options = { agents, proxies: 3, seed: 1, handshakesPerSecond, cutAll: true, sizeOf: () => 100 };
  return new Map(runScaled(options, () => undefined).phases.map((phase) => [phase.name, phase]));
}

suite('simulated scale', () => {
  test('every agent gets to every root proxy with one handshake each, and to the one that replaces another', () => {
    const phases = phasesOf(100, undefined);
    assert.deepEqual(
      [...phases.values()].map(({ name, reached, handshakes }) => ({ name, reached, handshakes })),
      [
        { name: 'cold start', reached: true, handshakes: 300 },
        { name: 'quiet', reached: true, handshakes: 0 },
        { name: 'one drained and replaced', reached: true, handshakes: 100 },
        { name: 'one killed and replaced', reached: true, handshakes: 100 },
        { name: 'all cut at once', reached: true, handshakes: 300 },
      ],
    );
  });

  test('500 agents that are cut at once come back at 50 handshakes a second and root proxy, within a minute', () => {
    const phases = phasesOf(500, 50);
    for (const { name, reached, peakHandshakesPerProxy, maxMs } of phases.values()) {
      assert.ok(reached, `${name} did not get there`);
      assert.ok(peakHandshakesPerProxy <= 50, `${name}: ${String(peakHandshakesPerProxy)} handshakes in one second`);
      assert.ok(maxMs <= 60_000, `${name} took ${String(maxMs)} ms`);
    }
    assert.ok((phases.get('cold start')?.shed ?? 0) > 0, 'nothing was shed: the herd was too small');
  });

  test('the same seed gives the same run', () => {
    assert.deepEqual(phasesOf(50, 50), phasesOf(50, 50));
  });
});
