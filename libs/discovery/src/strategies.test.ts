import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AgentId, Incarnation, LeafId, ProxyId } from './shared/ids.ts';
import { defaultLeafConfig } from './leaf/defaults.ts';
import { createAgent, LatestKnowledge, MentionedKnowledge, STRATEGIES } from './strategies.ts';
import { fixedRandom } from './testing/random.ts';

function message(...ids: string[]) {
  const proxies = ids.map((id) => ({
    id: id as ProxyId,
    incarnation: 1n as Incarnation,
    state: 'ready' as const,
    generation: 0,
  }));
  return { kind: 'snapshot' as const, stamp: { epoch: 1n, revision: BigInt(ids.length) }, proxies };
}

const A = 'a' as ProxyId;

test('production code never imports the protocols that we only compare with', () => {
  const root = join(import.meta.dirname, '../../..');
  const files = globSync(['libs/*/src/**/*.ts', 'apps/*/src/**/*.ts'], { cwd: root }).filter(
    (file) => !/\.test\.ts$|\/testing\/|^libs\/simulator\/|^apps\/sim\/|strategies\.ts$/.test(file),
  );
  assert.ok(files.length > 50);
  for (const file of files)
    assert.doesNotMatch(readFileSync(join(root, file), 'utf8'), /from '.*\/strategies(?:\.ts)?'/, file);
});

for (const name of STRATEGIES) {
  test(`an agent that follows ${name} starts with one dial`, () => {
    const agent = createAgent(name, defaultLeafConfig('l' as LeafId, 'a1' as AgentId), fixedRandom(0), 0);
    assert.equal(agent.pollEffect()?.type, 'dial');
    assert.equal(agent.pollEffect(), undefined);
  });
}

test('the naive protocol takes the latest message for the truth, whatever its stamp', () => {
  const naive = new LatestKnowledge();
  naive.receive(message('a', 'b'));
  naive.receive(message('b'));
  assert.equal(naive.verdict(A).kind, 'expired');
  assert.deepEqual(naive.records(), ['b']);
});

test('a grow-only pool never forgets, an expiring one does', () => {
  const growing = new MentionedKnowledge(Infinity);
  const expiring = new MentionedKnowledge(1_000);
  for (const knowledge of [growing, expiring]) {
    knowledge.receive(message('a'), 0);
    knowledge.receive(message('b'), 900);
  }
  assert.deepEqual(growing.records(1_000_000), ['a', 'b']);
  assert.equal(growing.nextExpiry(0), undefined);
  assert.deepEqual(expiring.records(1_001), ['b']);
  assert.equal(expiring.nextExpiry(0), 1_001);
  assert.equal(expiring.verdict(A, 1_001).kind, 'expired');
});
