/**
 * Brings etcd's claim records in line with the slots in memory, one reconciler per (leaf cluster, slot).
 *
 * Operations on one record are serialised: the next starts when the outcome of the last is known, or after a wait when
 * it is not. A write of unknown outcome is asked for again with its own nonce until it is known, even when nobody wants
 * it any more: only then is there a token to release it by. A write that was applied after all of that shows in the
 * registry's view, and is released by what the view says of it. Results of requests that were forgotten (registry lost, new
 * incarnation) are ignored.
 */
import { assert } from '../shared/assert.ts';
import { spreadMs } from '../shared/backoff.ts';
import type { Deadlines } from '../shared/deadlines.ts';
import type { AgentId, FencingToken, Incarnation, LeafId, TunnelId } from '../shared/ids.ts';
import type { Instant, Random } from '../shared/time.ts';
import type { ClaimKey, MemberClaim } from './registry-types.ts';
import type { ClaimRecord, RootEffect } from './types.ts';
import type { RootDeadline } from './tunnels.ts';

/** Writes under way at once: enough to keep a registry busy, few enough that a thousand claims do not time out together. */
const MAX_IN_FLIGHT = 64;
/** The shell answers every request; a request it forgot counts as unknown after this. */
const ANSWER_TIMEOUT_MS = 10_000;
const MAX_DOUBLINGS = 4;

/** One grant of one slot to one tunnel. */
export interface Grant {
  readonly tunnel: TunnelId;
  readonly agent: AgentId;
  readonly nonce: string;
}

/** A grant as it is or may be in etcd. */
interface Written {
  readonly agent: AgentId;
  readonly nonce: string;
}

type Operation =
  | { readonly kind: 'record'; readonly request: number; readonly written: Written }
  | { readonly kind: 'release'; readonly request: number };

interface Slot {
  readonly key: string;
  readonly leaf: LeafId;
  readonly slot: number;
  desired: Grant | undefined;
  recorded: { readonly nonce: string; readonly token: FencingToken } | undefined;
  /** A write that may or may not be in etcd. */
  uncertain: Written | undefined;
  inFlight: Operation | undefined;
  attempts: number;
}

/** What a result means for the slots. */
export type RecordOutcome =
  | { readonly kind: 'confirmed'; readonly tunnel: TunnelId; readonly slot: number; readonly token: FencingToken }
  /** The record of a later incarnation holds the slot, or the registry did not tell whose. */
  | { readonly kind: 'lost'; readonly tunnel: TunnelId; readonly holder: ClaimRecord | undefined };

export interface RecorderParts {
  readonly random: Random;
  readonly recordRetryMs: number;
  readonly deadlines: Deadlines<RootDeadline>;
  readonly emit: (effect: RootEffect) => void;
}

export class ClaimRecorder {
  readonly #parts: RecorderParts;
  readonly #slots = new Map<string, Slot>();
  readonly #requests = new Map<number, Slot>();
  /** Slots with something to do, in the order in which they got it. */
  readonly #ready = new Set<Slot>();
  /** Marks the nonces of this process. */
  readonly #tag: string;
  #connected = false;
  #incarnation = 0n as Incarnation;
  #lastRequest = 0;
  #lastNonce = 0;

  constructor(parts: RecorderParts) {
    this.#parts = parts;
    const draw = (): string =>
      Math.floor(parts.random.next('grant-tag') * 2 ** 32)
        .toString(16)
        .padStart(8, '0');
    this.#tag = draw() + draw();
  }

  get connected(): boolean {
    return this.#connected;
  }

  get incarnation(): Incarnation {
    return this.#incarnation;
  }

  /** A nonce that no other grant has, in this process or another. */
  nextNonce(): string {
    this.#lastNonce += 1;
    return `${this.#tag}.${this.#lastNonce}`;
  }

  /** Says who holds the slot from now on; undefined for nobody. */
  desire(leaf: LeafId, slot: number, grant: Grant | undefined): void {
    const entry = this.#slots.get(slotKey({ leaf, slot })) ?? (grant === undefined ? undefined : this.#add(leaf, slot));
    if (entry === undefined) return;
    entry.desired = grant;
    if (grant === undefined && isSettled(entry)) return this.#drop(entry);
    if (entry.uncertain === undefined) entry.attempts = 0;
    this.#wake(entry);
  }

  #add(leaf: LeafId, slot: number): Slot {
    const entry: Slot = {
      key: slotKey({ leaf, slot }),
      leaf,
      slot,
      desired: undefined,
      recorded: undefined,
      uncertain: undefined,
      inFlight: undefined,
      attempts: 0,
    };
    this.#slots.set(entry.key, entry);
    return entry;
  }

  /** The token by which `tunnel` holds the slot; 0n while provisional. */
  tokenOf(leaf: LeafId, slot: number, tunnel: TunnelId): FencingToken {
    const entry = this.#slots.get(slotKey({ leaf, slot }));
    const confirmed = entry?.desired?.tunnel === tunnel && entry.recorded?.nonce === entry.desired.nonce;
    return confirmed && entry.recorded !== undefined ? entry.recorded.token : (0n as FencingToken);
  }

  /** Records that still differ from the slots. */
  get unrecorded(): number {
    let count = 0;
    for (const entry of this.#slots.values()) if (!isSettled(entry)) count += 1;
    return count;
  }

  registryConnected(incarnation: Incarnation): void {
    this.#connected = true;
    const changed = incarnation !== this.#incarnation;
    this.#incarnation = incarnation;
    for (const entry of this.#sorted()) {
      entry.attempts = 0;
      if (changed) {
        entry.recorded = undefined;
        entry.uncertain = undefined;
        this.#forgetOperation(entry);
      }
      this.#wake(entry);
    }
  }

  registryLost(): void {
    this.#connected = false;
    for (const entry of this.#sorted()) this.#outcomeUnknown(entry);
  }

  /** Starts what can start. Call at the end of every event. */
  pump(now: Instant): void {
    if (!this.#connected) return;
    for (const entry of this.#ready) {
      if (this.#requests.size >= MAX_IN_FLIGHT) return;
      this.#ready.delete(entry);
      this.#step(entry, now);
    }
  }

  #step(entry: Slot, now: Instant): void {
    if (entry.inFlight !== undefined) return;
    const { desired, recorded, uncertain } = entry;
    if (recorded !== undefined && recorded.nonce !== desired?.nonce) {
      const request = this.#begin(entry, undefined, now);
      this.#parts.emit({ type: 'releaseClaim', request, leaf: entry.leaf, slot: entry.slot, token: recorded.token });
      return;
    }
    const wanted = uncertain ?? (recorded === undefined ? desired : undefined);
    if (wanted === undefined) {
      if (isSettled(entry) && desired === undefined) this.#drop(entry);
      return;
    }
    const { agent, nonce } = wanted;
    const request = this.#begin(entry, { agent, nonce }, now);
    this.#parts.emit({ type: 'recordClaim', request, leaf: entry.leaf, slot: entry.slot, agent, nonce });
  }

  /** Begins to record `written`, or to release when it is undefined. */
  #begin(entry: Slot, written: Written | undefined, now: Instant): number {
    this.#lastRequest += 1;
    const request = this.#lastRequest;
    entry.inFlight = written === undefined ? { kind: 'release', request } : { kind: 'record', request, written };
    this.#requests.set(request, entry);
    this.#parts.deadlines.set(`record:${entry.key}`, now + ANSWER_TIMEOUT_MS);
    return request;
  }

  /** The slot whose operation `request` names; undefined for a late result that nobody waits for. */
  #slotOf(request: number, kind: Operation['kind']): Slot | undefined {
    const entry = this.#requests.get(request);
    return entry?.inFlight?.kind === kind ? entry : undefined;
  }

  #forgetOperation(entry: Slot): void {
    if (entry.inFlight !== undefined) this.#requests.delete(entry.inFlight.request);
    entry.inFlight = undefined;
    this.#parts.deadlines.set(`record:${entry.key}`, undefined);
  }

  recorded(request: number, token: FencingToken): RecordOutcome | undefined {
    const entry = this.#slotOf(request, 'record');
    if (entry?.inFlight?.kind !== 'record') return undefined;
    const { nonce } = entry.inFlight.written;
    this.#forgetOperation(entry);
    return this.#learn(entry, nonce, token);
  }

  #learn(entry: Slot, nonce: string, token: FencingToken): RecordOutcome | undefined {
    entry.recorded = { nonce, token };
    entry.uncertain = undefined;
    entry.attempts = 0;
    this.#wake(entry);
    if (entry.desired?.nonce !== nonce) return undefined;
    return { kind: 'confirmed', tunnel: entry.desired.tunnel, slot: entry.slot, token };
  }

  refused(
    request: number,
    cause: 'held' | 'stale-incarnation',
    holder: ClaimRecord | undefined,
    now: Instant,
  ): RecordOutcome | undefined {
    const entry = this.#slotOf(request, 'record');
    if (entry?.inFlight?.kind !== 'record') return undefined;
    const { nonce } = entry.inFlight.written;
    this.#forgetOperation(entry);
    entry.uncertain = undefined;
    const lapses = holder !== undefined && holder.incarnation < this.#incarnation;
    if (cause === 'stale-incarnation' || lapses) {
      entry.attempts += 1;
      this.#retryLater(entry, now);
      return undefined;
    }
    // Only this process writes for its incarnation: an earlier grant of ours, or a hand in the store. The slot decides, and
    // what it does not want is released by its token. Giving way instead would cost the agent its tunnel again and again.
    if (holder?.incarnation === this.#incarnation) return this.#learn(entry, holder.nonce, holder.token);
    this.#wake(entry);
    if (entry.desired === undefined || entry.desired.nonce !== nonce) return undefined;
    return { kind: 'lost', tunnel: entry.desired.tunnel, holder };
  }

  unknown(request: number, kind: Operation['kind'], now: Instant): void {
    const entry = this.#slotOf(request, kind);
    if (entry === undefined) return;
    this.#outcomeUnknown(entry);
    entry.attempts += 1;
    this.#retryLater(entry, now);
  }

  #outcomeUnknown(entry: Slot): void {
    const operation = entry.inFlight;
    if (operation === undefined) return;
    this.#forgetOperation(entry);
    if (operation.kind === 'record') entry.uncertain = operation.written;
  }

  released(request: number): void {
    const entry = this.#slotOf(request, 'release');
    if (entry === undefined) return;
    this.#forgetOperation(entry);
    entry.recorded = undefined;
    entry.attempts = 0;
    this.#wake(entry);
  }

  /**
   * What etcd has of our claims, exact up to the token `newest`. Slots with an operation under way are left alone: its outcome
   * decides. `missing`: keys that are gone, or that every key not among `claims` is.
   */
  observed(
    claims: readonly MemberClaim[],
    missing: readonly ClaimKey[] | 'others-missing',
    newest: bigint,
  ): readonly RecordOutcome[] {
    const present = new Set(claims.map(slotKey));
    const gone = missing === 'others-missing' ? [...this.#slots.keys()] : missing.map(slotKey);
    for (const key of gone.filter((name) => !present.has(name)).sort()) this.#observeMissing(key, newest);
    const own = claims.filter((claim) => claim.incarnation === this.#incarnation);
    return own.flatMap((claim) => this.#observePresent(claim) ?? []);
  }

  #observeMissing(key: string, newest: bigint): void {
    const entry = this.#slots.get(key);
    if (entry?.recorded === undefined || entry.inFlight !== undefined || entry.recorded.token > newest) return;
    entry.recorded = undefined;
    this.#wake(entry);
  }

  #observePresent(claim: MemberClaim): RecordOutcome | undefined {
    const { leaf, slot, nonce, token } = claim;
    const entry = this.#slots.get(slotKey(claim)) ?? this.#add(leaf, slot);
    if (entry.inFlight !== undefined) return undefined;
    if (entry.recorded !== undefined && entry.recorded.token >= token) return undefined;
    return this.#learn(entry, nonce, token);
  }

  /** The deadline `record:<key>` passed: a wait is over, or an answer is overdue. */
  expired(key: string, now: Instant): void {
    const entry = this.#slots.get(key);
    if (entry === undefined) return;
    if (entry.inFlight !== undefined) this.unknown(entry.inFlight.request, entry.inFlight.kind, now);
    else this.#wake(entry);
  }

  #retryLater(entry: Slot, now: Instant): void {
    this.#ready.delete(entry);
    const wait = this.#parts.recordRetryMs * 2 ** Math.min(entry.attempts - 1, MAX_DOUBLINGS);
    const at = now + spreadMs(wait / 2, wait, this.#parts.random, `record:${entry.key}`);
    this.#parts.deadlines.set(`record:${entry.key}`, at);
  }

  #wake(entry: Slot): void {
    if (entry.inFlight !== undefined) return;
    // A wait after an unknown or stale outcome is sat out; its deadline wakes the slot.
    if (entry.attempts > 0 && this.#parts.deadlines.get(`record:${entry.key}`) !== undefined) return;
    this.#parts.deadlines.set(`record:${entry.key}`, undefined);
    this.#ready.add(entry);
  }

  #drop(entry: Slot): void {
    assert(entry.inFlight === undefined, `slot ${entry.key} is dropped with an operation under way`);
    this.#ready.delete(entry);
    this.#slots.delete(entry.key);
    this.#parts.deadlines.set(`record:${entry.key}`, undefined);
  }

  #sorted(): readonly Slot[] {
    return [...this.#slots.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }
}

function slotKey({ leaf, slot }: Pick<ClaimKey, 'leaf' | 'slot'>): string {
  return `${leaf}/${slot}`;
}

function isSettled(entry: Slot): boolean {
  return (
    entry.inFlight === undefined && entry.uncertain === undefined && entry.recorded?.nonce === entry.desired?.nonce
  );
}
