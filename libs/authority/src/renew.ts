import { lockRefusal, refused } from './join.ts';
import type { Grant, IssuedFacts, Refusal } from './join.ts';
import { identityKey, revocationKey } from './keys.ts';
import { unchanged } from './plan.ts';
import type { Plan, Read } from './plan.ts';
import { encodeRecord } from './records.ts';
import type { IdentityRecord, RevocationRecord } from './types.ts';

/** What somebody with a certificate asks for. */
export interface RenewAsk {
  readonly identity: string;
  /** The certificate that was shown: fingerprint of its key, and when it was issued. */
  readonly shown: { readonly key: string; readonly issuedAtMs: number };
  /** Fingerprint of the key that the new certificate is to be for. */
  readonly key: string;
  /** What the client says that the shown one has; only used to go on after a restore. */
  readonly generation: number;
}

/** A certificate was shown that is not the newest: its key was copied. */
export interface Clone {
  readonly kind: 'cloned';
}

/** Replicas' clocks may differ by this much: issues closer to each other have no order. */
const CLOCK_TOLERANCE_MS = 60_000;
/** Bound on what a client may claim. */
const MAX_CLAIMED_GENERATION = 2 ** 40;
const CLONE_REASON = 'a certificate was shown that has been renewed: its key was copied';

/**
 * Whether a certificate may be renewed. What decides is the key that was shown, in the handshake, against the one that
 * the newest certificate is for; what a client says about itself decides nothing.
 */
export function decideRenewal(
  ask: RenewAsk,
  identity: Read<IdentityRecord>,
  revocation: RevocationRecord | undefined,
): Grant | Refusal | Clone {
  const { record } = identity;
  if (record?.lock !== undefined) return lockRefusal(record.lock.kind);
  if (revocation !== undefined && ask.shown.issuedAtMs < revocation.beforeMs) return lockRefusal('revoked');
  if (ask.key === ask.shown.key) {
    return refused('invalid', 'the request is for the key of the certificate that was shown', 'use a new key');
  }
  if (record === undefined) return restored(ask, 0);
  if (ask.shown.key === record.key) return granted(ask, record.generation + 1, false);
  if (ask.shown.key === record.previousKey) {
    return ask.key === record.key ? granted(ask, record.generation, true) : { kind: 'cloned' };
  }
  const newerByMs = ask.shown.issuedAtMs - record.issuedAtMs;
  if (newerByMs > CLOCK_TOLERANCE_MS) return restored(ask, record.generation);
  if (newerByMs > 0) {
    return refused('generation', 'the store may be older than the certificate that was shown', 'try again later');
  }
  return { kind: 'cloned' };
}

export function renewalPlan(grant: Grant, identity: Read<IdentityRecord>, shownKey: string, issued: IssuedFacts): Plan {
  const record: IdentityRecord = {
    identity: grant.identity,
    generation: grant.generation,
    previousKey: shownKey,
    lock: undefined,
    ...issued,
  };
  return {
    compares: [unchanged(identity)],
    steps: [{ type: 'put', key: identity.key, value: encodeRecord(record), lease: 0n }],
  };
}

/** Locks the identity and cuts off whoever has a certificate of it. */
export function clonePlan(identity: Read<IdentityRecord>, nowMs: number, keepMs: number): Plan {
  const { record } = identity;
  if (record === undefined) throw new Error('bug in authority: a clone of nobody');
  return lockPlan(identity, { ...record, lock: { kind: 'cloned', atMs: nowMs, reason: CLONE_REASON } }, keepMs);
}

/**
 * Takes an identity back, whether it has joined or not.
 *
 * @param keepMs Longest life of a certificate: so long the revocation has to be remembered.
 */
export function revokePlan(
  name: string,
  identity: Read<IdentityRecord>,
  reason: string,
  nowMs: number,
  keepMs: number,
): Plan {
  const record = identity.record ?? neverJoined(name, nowMs);
  return lockPlan(identity, { ...record, lock: { kind: 'revoked', atMs: nowMs, reason } }, keepMs);
}

/** Takes a lock back. Certificates from before it stay refused, so the name is free to be joined again. */
export function unlockPlan(identity: Read<IdentityRecord>, nowMs: number): Plan | undefined {
  const { record } = identity;
  if (record?.lock === undefined) return undefined;
  const free: IdentityRecord = { ...record, key: '', previousKey: '', notAfterMs: nowMs, lock: undefined };
  return {
    compares: [unchanged(identity)],
    steps: [{ type: 'put', key: identity.key, value: encodeRecord(free), lease: 0n }],
  };
}

function lockPlan(identity: Read<IdentityRecord>, locked: IdentityRecord, keepMs: number): Plan {
  const { lock } = locked;
  if (lock === undefined) throw new Error('bug in authority: a lock without a reason');
  // The replica that gave the newest certificate may have a clock that is ahead, or have given it for longer than is usual now.
  const beforeMs = Math.max(lock.atMs, locked.key === '' ? 0 : locked.issuedAtMs + 1);
  const ttlMs = Math.max(keepMs, locked.notAfterMs - lock.atMs);
  const revocation: RevocationRecord = { identity: locked.identity, beforeMs, reason: lock.reason };
  return {
    compares: [unchanged(identity)],
    steps: [
      { type: 'put', key: identityKey(locked.identity), value: encodeRecord(locked), lease: 0n },
      { type: 'putFor', key: revocationKey(locked.identity), value: encodeRecord(revocation), ttlMs },
    ],
  };
}

function neverJoined(identity: string, nowMs: number): IdentityRecord {
  const none = { key: '', previousKey: '', root: '', trust: 0, lock: undefined };
  return { identity, generation: 0, issuedAtMs: nowMs, notAfterMs: nowMs, ...none };
}

/** The certificate is genuine and newer than what the store knows: a backup was restored. Going on is safe, because a copy of an older one is not newer. */
function restored(ask: RenewAsk, known: number): Grant {
  return granted(ask, Math.max(known, Math.min(ask.generation, MAX_CLAIMED_GENERATION)) + 1, false);
}

function granted(ask: RenewAsk, generation: number, repeat: boolean): Grant {
  return { kind: 'granted', identity: ask.identity, generation, repeat };
}
