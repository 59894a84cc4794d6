import { toIncarnation, toToken } from './fence.ts';
import type { FencingToken, Incarnation, LeafId, ProxyId } from './ids.ts';
import { claimKey, EPOCH_KEY, parseKey } from './keys.ts';
import type { ClaimSlot } from './keys.ts';
import type { Stamp, View, ViewClaim, ViewDelta, ViewMember } from './messages.ts';
import { decodeClaim, decodeEpoch, decodeMember, decodeSession } from './records.ts';
import type { ClaimRecord, MemberRecord, SessionRecord } from './records.ts';
import type { KeyValue, StoreEvent } from './store.ts';

export interface MemberEntry {
  readonly proxy: ProxyId;
  readonly record: MemberRecord;
  readonly incarnation: Incarnation;
  readonly kv: KeyValue;
}

export interface SessionEntry {
  readonly proxy: ProxyId;
  readonly record: SessionRecord;
  readonly kv: KeyValue;
}

export interface ClaimEntry {
  readonly slot: ClaimSlot;
  readonly record: ClaimRecord;
  readonly token: FencingToken;
  readonly kv: KeyValue;
}

/** What one step of history changed. Claims by key. */
export interface ViewChanges {
  readonly members: Set<ProxyId>;
  readonly sessions: Set<ProxyId>;
  readonly claims: Map<string, ClaimSlot>;
  epoch: boolean;
  /** Keys by which replicas ask whether anybody remembers the store; passing, so the view does not keep them. */
  readonly questions: KeyValue[];
  /** Keys under our prefix whose value cannot be read; such a record counts as absent. */
  readonly malformed: string[];
}

export function readMember(proxy: ProxyId, kv: KeyValue): MemberEntry | undefined {
  const record = decodeMember(kv.value);
  if (record === undefined) return undefined;
  const incarnation = toIncarnation({ epoch: record.epoch, createRevision: kv.createRevision });
  return { proxy, record, incarnation, kv };
}

export function readClaim(slot: ClaimSlot, kv: KeyValue): ClaimEntry | undefined {
  const record = decodeClaim(kv.value);
  if (record === undefined) return undefined;
  return { slot, record, token: toToken({ epoch: record.epoch, createRevision: kv.createRevision }), kv };
}

export function viewClaim(entry: ClaimEntry): ViewClaim {
  const { agent, nonce, incarnation } = entry.record;
  return { ...entry.slot, agent, nonce, incarnation, token: entry.token };
}

/** The replica's copy of everything under the prefix, exact as of `revision`. */
export class ClusterView {
  readonly #members = new Map<ProxyId, MemberEntry>();
  readonly #sessions = new Map<ProxyId, SessionEntry>();
  readonly #claims = new Map<string, ClaimEntry>();
  readonly #claimsPerLeaf = new Map<LeafId, number>();
  /** Records that cannot be read: they count as absent, and are no other history's. */
  readonly #malformed = new Map<string, KeyValue>();
  #revision = 0n;
  #epoch: bigint | undefined;
  #epochKv: KeyValue | undefined;

  get revision(): bigint {
    return this.#revision;
  }

  /** undefined while the store has no epoch key. */
  get epoch(): bigint | undefined {
    return this.#epoch;
  }

  /** Of the epoch key, even one that cannot be read; 0n while the store has none. */
  get epochModRevision(): bigint {
    return (this.#epochKv ?? this.#malformed.get(EPOCH_KEY))?.modRevision ?? 0n;
  }

  get stamp(): Stamp {
    return { epoch: this.#epoch ?? 0n, revision: this.#revision };
  }

  get memberCount(): number {
    return this.#members.size;
  }

  get claimCount(): number {
    return this.#claims.size;
  }

  member(proxy: ProxyId): MemberEntry | undefined {
    return this.#members.get(proxy);
  }

  session(proxy: ProxyId): SessionEntry | undefined {
    return this.#sessions.get(proxy);
  }

  sessions(): readonly SessionEntry[] {
    return [...this.#sessions.values()].sort((a, b) => compareText(a.proxy, b.proxy));
  }

  claimsOf(leaf: LeafId): number {
    return this.#claimsPerLeaf.get(leaf) ?? 0;
  }

  /** Replaces everything with a complete list as of `revision`. */
  replace(kvs: readonly KeyValue[], revision: bigint): ViewChanges {
    const changes = noChanges();
    const listed = new Set(kvs.map((kv) => kv.key));
    for (const key of this.#keys()) if (!listed.has(key)) this.#remove(key, changes);
    for (const kv of kvs) this.#put(kv, changes);
    this.#revision = revision;
    return changes;
  }

  /** Takes over what a watch told; whole revisions in order, up to `revision`. */
  advance(events: readonly StoreEvent[], revision: bigint): ViewChanges {
    const changes = noChanges();
    for (const event of events) {
      if (event.type === 'put') this.#put(event.kv, changes);
      else this.#remove(event.key, changes);
    }
    if (revision > this.#revision) this.#revision = revision;
    return changes;
  }

  /**
   * Whether a list shows another history than ours: a key last changed before our revision that we know differently.
   * Revisions alone do not tell: two histories of one store may have written one key at the same revision. Keys that
   * mean nothing to us say nothing.
   */
  contradictedBy(kvs: readonly KeyValue[]): boolean {
    return kvs.some((kv) => kv.modRevision <= this.#revision && isOurs(kv.key) && !this.#isKnown(kv));
  }

  /** Sorted by name. */
  members(): readonly ViewMember[] {
    return [...this.#members.values()].map(viewMember).sort((a, b) => compareText(a.proxy, b.proxy));
  }

  /** `stamp`: the last revision at which members or claims changed; the view is the same at every revision since. */
  full(stamp: Stamp): View {
    return {
      stamp,
      members: this.members(),
      claims: [...this.#claims.values()].sort((a, b) => compareText(a.kv.key, b.kv.key)).map(viewClaim),
    };
  }

  /** What leads from `from` to now, given everything that changed in between. */
  delta(from: Stamp, members: ReadonlySet<ProxyId>, claims: ReadonlyMap<string, ClaimSlot>): ViewDelta {
    const proxies = [...members].sort(compareText);
    const slots = [...claims].sort(([a], [b]) => compareText(a, b));
    return {
      from,
      to: this.stamp,
      members: proxies.flatMap((proxy) => this.#members.get(proxy) ?? []).map(viewMember),
      removedMembers: proxies.filter((proxy) => !this.#members.has(proxy)),
      claims: slots.flatMap(([key]) => this.#claims.get(key) ?? []).map(viewClaim),
      removedClaims: slots.filter(([key]) => !this.#claims.has(key)).map(([, slot]) => slot),
    };
  }

  #put(kv: KeyValue, changes: ViewChanges): void {
    const key = parseKey(kv.key);
    if (key.kind === 'foreign' || this.#isKnown(kv)) return;
    this.#malformed.delete(kv.key);
    if (key.kind === 'epoch') return this.#putEpoch(kv, changes);
    if (key.kind === 'continuity') return void changes.questions.push(kv);
    if (key.kind === 'member') {
      const entry = readMember(key.proxy, kv);
      if (entry === undefined) return this.#putMalformed(kv, changes);
      this.#members.set(key.proxy, entry);
      changes.members.add(key.proxy);
    } else if (key.kind === 'session') {
      const record = decodeSession(kv.value);
      if (record === undefined) return this.#putMalformed(kv, changes);
      this.#sessions.set(key.proxy, { proxy: key.proxy, record, kv });
      changes.sessions.add(key.proxy);
    } else {
      const entry = readClaim(key.claim, kv);
      if (entry === undefined) return this.#putMalformed(kv, changes);
      if (!this.#claims.has(kv.key)) this.#claimsPerLeaf.set(key.claim.leaf, this.claimsOf(key.claim.leaf) + 1);
      this.#claims.set(kv.key, entry);
      changes.claims.set(kv.key, key.claim);
    }
  }

  #putEpoch(kv: KeyValue, changes: ViewChanges): void {
    const epoch = decodeEpoch(kv.value);
    if (epoch === undefined) return this.#putMalformed(kv, changes);
    this.#epoch = epoch;
    this.#epochKv = kv;
    changes.epoch = true;
  }

  #putMalformed(kv: KeyValue, changes: ViewChanges): void {
    changes.malformed.push(kv.key);
    this.#remove(kv.key, changes);
    this.#malformed.set(kv.key, kv);
  }

  #remove(text: string, changes: ViewChanges): void {
    const key = parseKey(text);
    this.#malformed.delete(text);
    if (key.kind === 'epoch') {
      this.#epoch = undefined;
      this.#epochKv = undefined;
      changes.epoch = true;
    } else if (key.kind === 'member' && this.#members.delete(key.proxy)) {
      changes.members.add(key.proxy);
    } else if (key.kind === 'session' && this.#sessions.delete(key.proxy)) {
      changes.sessions.add(key.proxy);
    } else if (key.kind === 'claim' && this.#claims.delete(text)) {
      changes.claims.set(text, key.claim);
      this.#forgetClaimOf(key.claim.leaf);
    }
  }

  #forgetClaimOf(leaf: LeafId): void {
    const left = this.claimsOf(leaf) - 1;
    if (left > 0) this.#claimsPerLeaf.set(leaf, left);
    else this.#claimsPerLeaf.delete(leaf);
  }

  /** Whether we have this key as it is here, to the last byte. */
  #isKnown(kv: KeyValue): boolean {
    const known = this.#known(kv.key) ?? this.#malformed.get(kv.key);
    return (
      known?.modRevision === kv.modRevision &&
      known.createRevision === kv.createRevision &&
      known.lease === kv.lease &&
      known.value === kv.value
    );
  }

  #known(text: string): KeyValue | undefined {
    const key = parseKey(text);
    if (key.kind === 'epoch') return this.#epochKv;
    if (key.kind === 'member') return this.#members.get(key.proxy)?.kv;
    if (key.kind === 'session') return this.#sessions.get(key.proxy)?.kv;
    if (key.kind === 'claim') return this.#claims.get(claimKey(key.claim))?.kv;
    return undefined;
  }

  #keys(): readonly string[] {
    const entries = [...this.#members.values(), ...this.#sessions.values(), ...this.#claims.values()];
    const keys = [...entries.map((entry) => entry.kv.key), ...this.#malformed.keys()];
    return this.#epoch === undefined ? keys : [...keys, EPOCH_KEY];
  }
}

function isOurs(key: string): boolean {
  const { kind } = parseKey(key);
  return kind !== 'foreign' && kind !== 'continuity';
}

function viewMember(entry: MemberEntry): ViewMember {
  const { draining, generation, peerAddress, tunnelAddress, nonce, software } = entry.record;
  return {
    proxy: entry.proxy,
    incarnation: entry.incarnation,
    draining,
    generation,
    peerAddress,
    tunnelAddress,
    instanceNonce: nonce,
    software,
    lease: entry.kv.lease,
  };
}

function noChanges(): ViewChanges {
  return { members: new Set(), sessions: new Set(), claims: new Map(), epoch: false, questions: [], malformed: [] };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
