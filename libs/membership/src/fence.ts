import type { FencingToken, Incarnation } from './ids.ts';

/**
 * Incarnations and fencing tokens are create_revisions. A store that was restored from an older backup counts some
 * revisions twice, so the epoch goes in front of the revision: `(epoch - 1) * 2^44 + create_revision`. In the first
 * epoch, so in every store that was never restored, a fence *is* the create_revision; across a restore it still rises.
 * 2^44 revisions last 557 years at 1,000 writes a second; 2^19 epochs fit a signed 64-bit number.
 */
const REVISION_BITS = 44n;
const REVISION_MASK = (1n << REVISION_BITS) - 1n;

/** The first epoch of a store. */
export const FIRST_EPOCH = 1n;
/** A greater epoch would not fit; see above. */
export const LAST_EPOCH = 1n << 19n;

export interface Fence {
  readonly epoch: bigint;
  readonly createRevision: bigint;
}

export function toIncarnation(fence: Fence): Incarnation {
  return fold(fence) as Incarnation;
}

export function toToken(fence: Fence): FencingToken {
  return fold(fence) as FencingToken;
}

export function toFence(value: bigint): Fence {
  return { epoch: (value >> REVISION_BITS) + FIRST_EPOCH, createRevision: value & REVISION_MASK };
}

function fold(fence: Fence): bigint {
  return ((fence.epoch - FIRST_EPOCH) << REVISION_BITS) | fence.createRevision;
}
