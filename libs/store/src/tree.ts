import type { Key, KeyRange } from './bytes.ts';
import type { KeyValue } from './types.ts';

/**
 * An immutable search tree of keys: a change shares all but a path with the tree before it, so each revision keeps its own root
 * at the price of that path. Weight-balanced (Nievergelt and Reingold, with the integer parameters that Hirai and Yamamoto
 * proved): the sizes that balance it also count ranges without visiting them.
 */
export type Tree = TreeNode | undefined;

interface TreeNode {
  readonly kv: KeyValue;
  readonly size: number;
  readonly left: Tree;
  readonly right: Tree;
}

const DELTA = 3;
const GAMMA = 2;

export function size(tree: Tree): number {
  return tree === undefined ? 0 : tree.size;
}

export function find(tree: Tree, key: Key): KeyValue | undefined {
  let node = tree;
  while (node !== undefined) {
    const here = node.kv.key;
    if (key === here) return node.kv;
    node = key < here ? node.left : node.right;
  }
  return undefined;
}

/** The tree with `kv` in place of whatever its key had. */
export function insert(tree: Tree, kv: KeyValue): TreeNode {
  if (tree === undefined) return join(kv, undefined, undefined);
  const here = tree.kv.key;
  if (kv.key === here) return { kv, size: tree.size, left: tree.left, right: tree.right };
  if (kv.key < here) return balance(tree.kv, insert(tree.left, kv), tree.right);
  return balance(tree.kv, tree.left, insert(tree.right, kv));
}

/** The tree without `key`; the same tree when it has no such key. */
export function remove(tree: Tree, key: Key): Tree {
  if (tree === undefined) return undefined;
  const here = tree.kv.key;
  if (key === here) return glue(tree.left, tree.right);
  if (key < here) {
    const left = remove(tree.left, key);
    return left === tree.left ? tree : balance(tree.kv, left, tree.right);
  }
  const right = remove(tree.right, key);
  return right === tree.right ? tree : balance(tree.kv, tree.left, right);
}

/** How many keys the range holds, in logarithmic time. */
export function count(tree: Tree, range: KeyRange): number {
  if (range.kind === 'one') return find(tree, range.key) === undefined ? 0 : 1;
  const end = range.to === undefined ? size(tree) : rank(tree, range.to);
  return Math.max(0, end - rank(tree, range.from));
}

/** Keys of the range in order; at most `limit` of them. */
export function list(tree: Tree, range: KeyRange, limit = Infinity): KeyValue[] {
  if (range.kind === 'one') {
    const kv = find(tree, range.key);
    return kv === undefined ? [] : [kv];
  }
  const found: KeyValue[] = [];
  collect(tree, range.from, range.to, limit, found);
  return found;
}

function collect(tree: Tree, from: Key, to: Key | undefined, limit: number, found: KeyValue[]): void {
  let node = tree;
  while (node !== undefined && found.length < limit) {
    const here = node.kv.key;
    if (here < from) {
      node = node.right;
      continue;
    }
    if (to !== undefined && here >= to) {
      node = node.left;
      continue;
    }
    collect(node.left, from, to, limit, found);
    if (found.length < limit) found.push(node.kv);
    node = node.right;
  }
}

/** How many keys are before `key`. */
function rank(tree: Tree, key: Key): number {
  let before = 0;
  let node = tree;
  while (node !== undefined) {
    if (key <= node.kv.key) {
      node = node.left;
    } else {
      before += size(node.left) + 1;
      node = node.right;
    }
  }
  return before;
}

function join(kv: KeyValue, left: Tree, right: Tree): TreeNode {
  return { kv, size: size(left) + size(right) + 1, left, right };
}

function weight(tree: Tree): number {
  return size(tree) + 1;
}

/** Joins two trees of which one may be out of balance by a single insertion or removal. */
function balance(kv: KeyValue, left: Tree, right: Tree): TreeNode {
  if (right !== undefined && weight(right) > DELTA * weight(left)) return rotateLeft(kv, left, right);
  if (left !== undefined && weight(left) > DELTA * weight(right)) return rotateRight(kv, left, right);
  return join(kv, left, right);
}

function rotateLeft(kv: KeyValue, left: Tree, right: TreeNode): TreeNode {
  const inner = right.left;
  if (inner === undefined || weight(inner) < GAMMA * weight(right.right)) {
    return join(right.kv, join(kv, left, inner), right.right);
  }
  return join(inner.kv, join(kv, left, inner.left), join(right.kv, inner.right, right.right));
}

function rotateRight(kv: KeyValue, left: TreeNode, right: Tree): TreeNode {
  const inner = left.right;
  if (inner === undefined || weight(inner) < GAMMA * weight(left.left)) {
    return join(left.kv, left.left, join(kv, inner, right));
  }
  return join(inner.kv, join(left.kv, left.left, inner.left), join(kv, inner.right, right));
}

/** Joins two balanced trees, every key of the first before every key of the second. */
function glue(left: Tree, right: Tree): Tree {
  if (left === undefined) return right;
  if (right === undefined) return left;
  if (left.size > right.size) {
    const last = greatest(left);
    return balance(last, remove(left, last.key), right);
  }
  const first = least(right);
  return balance(first, left, remove(right, first.key));
}

function least(tree: TreeNode): KeyValue {
  let node = tree;
  while (node.left !== undefined) node = node.left;
  return node.kv;
}

function greatest(tree: TreeNode): KeyValue {
  let node = tree;
  while (node.right !== undefined) node = node.right;
  return node.kv;
}
