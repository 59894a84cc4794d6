import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { key, keyRange } from './bytes.ts';
import type { Key } from './bytes.ts';
import { count, find, insert, list, remove, size } from './tree.ts';
import type { Tree } from './tree.ts';
import type { KeyValue } from './types.ts';

const NO_VALUE = new Uint8Array(0);

function kvOf(name: Key, version: bigint): KeyValue {
  return { key: name, value: NO_VALUE, createRevision: 1n, modRevision: 1n, sub: 0, version, lease: 0n };
}

const name = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((byte) => String.fromCharCode(byte)),
  maxLength: 3,
});
const keys = name.map(key);
const steps = fc.array(fc.record({ key: keys, present: fc.boolean() }), { maxLength: 200 });

/** Sizes are right, order is right, and no side weighs more than three times the other. */
function check(tree: Tree, least?: Key, greatest?: Key): number {
  if (tree === undefined) return 0;
  const here = tree.kv.key;
  assert.ok((least === undefined || here > least) && (greatest === undefined || here < greatest));
  const left = check(tree.left, least, here);
  const right = check(tree.right, here, greatest);
  assert.ok(left + 1 <= 3 * (right + 1) && right + 1 <= 3 * (left + 1), 'out of balance');
  assert.equal(tree.size, left + right + 1);
  return tree.size;
}

test('a tree holds what a sorted list holds, balanced, after any insertions and removals', () => {
  fc.assert(
    fc.property(steps, keys, keys, (changes, from, to) => {
      const model = new Map<Key, bigint>();
      let tree: Tree;
      let version = 0n;
      for (const change of changes) {
        version += 1n;
        tree = change.present ? insert(tree, kvOf(change.key, version)) : remove(tree, change.key);
        if (change.present) model.set(change.key, version);
        else model.delete(change.key);
        assert.equal(find(tree, change.key)?.version, model.get(change.key));
      }
      check(tree);
      assert.equal(size(tree), model.size);
      const sorted = [...model.keys()].sort();
      const all = list(tree, { kind: 'span', from: key(''), to: undefined });
      assert.deepEqual(
        all.map((kv) => kv.key),
        sorted,
      );
      const wanted = sorted.filter((each) => each >= from && each < to);
      const range = { kind: 'span', from, to } as const;
      assert.deepEqual(
        list(tree, range).map((kv) => kv.key),
        wanted,
      );
      assert.equal(count(tree, range), wanted.length);
      assert.deepEqual(
        list(tree, range, 2).map((kv) => kv.key),
        wanted.slice(0, 2),
      );
      assert.equal(count(tree, keyRange(from, undefined)), model.has(from) ? 1 : 0);
    }),
  );
});

test('a tree stays balanced when keys come in order and go in order', () => {
  const names = Array.from({ length: 5_000 }, (_, index) => key(String(index).padStart(5, '0')));
  let tree: Tree;
  for (const each of names) tree = insert(tree, kvOf(each, 1n));
  check(tree);
  for (const each of names.slice(0, 4_990)) tree = remove(tree, each);
  check(tree);
  assert.equal(size(tree), 10);
});

test('a change leaves the tree before it as it was', () => {
  const before = insert(insert(undefined, kvOf(key('a'), 1n)), kvOf(key('b'), 1n));
  const after = remove(insert(before, kvOf(key('a'), 2n)), key('b'));
  assert.deepEqual([find(before, key('a'))?.version, size(before)], [1n, 2]);
  assert.deepEqual([find(after, key('a'))?.version, size(after)], [2n, 1]);
});
