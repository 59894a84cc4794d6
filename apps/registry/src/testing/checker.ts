import assert from 'node:assert/strict';
import { decodeClaim, decodeMember, parseKey, toFence } from '@xylem/membership';
import type { StoreEvent } from '@xylem/membership';
import type { WatchId } from '@xylem/store';
import type { ModelStore } from './model-store.ts';
import type { ProxyView, ProxyWitness } from './model-proxy.ts';

interface Truth {
  readonly members: ReadonlyMap<string, bigint>;
  readonly claims: ReadonlyMap<string, bigint>;
}

const EPOCH_BITS = 44n;

/**
 * Reads the store's whole history and holds it against the promises: tokens and incarnations only rise (S2, S3), a claim
 * belongs to the member that is there, whoever was granted a token has its record, every view is exact.
 */
export class Checker implements ProxyWitness {
  readonly #store: ModelStore;
  #watch: WatchId;
  readonly #members = new Map<string, bigint>();
  readonly #claims = new Map<
    string,
    { readonly token: bigint; readonly incarnation: bigint; readonly nonce: string }
  >();
  readonly #lastToken = new Map<string, bigint>();
  readonly #lastIncarnation = new Map<string, bigint>();
  /** Every (slot, nonce, token) that was ever recorded. */
  readonly #recorded = new Set<string>();
  readonly #truths = new Map<bigint, Truth>();
  /** False once the store was restored: revisions then name two states, and what nobody remembers may come again. */
  #oneHistory = true;

  constructor(store: ModelStore) {
    this.#store = store;
    this.#watch = store.watch(1n);
  }

  /** Reads on; to be called after every change and before a compaction. */
  read(): void {
    for (let read = this.#store.readWatch(this.#watch); read !== undefined; read = this.#store.readWatch(this.#watch)) {
      assert.equal(read.kind, 'events', 'the checker reads before history is compacted');
      if (read.kind === 'events') this.#take(read.events);
    }
  }

  /** A backup took the store's place. */
  restored(): void {
    this.#oneHistory = false;
    this.#members.clear();
    this.#claims.clear();
    for (const kv of this.#store.list()) this.#put(kv.key, kv.value, kv.createRevision, false);
    this.#watch = this.#store.watch(this.#store.revision + 1n);
  }

  welcomed(proxy: string, incarnation: bigint): void {
    if (!this.#oneHistory) return;
    assert.ok(
      incarnation <= (this.#lastIncarnation.get(proxy) ?? 0n),
      `${proxy} was welcomed as ${incarnation}, which is not recorded`,
    );
  }

  granted(proxy: string, leaf: string, nonce: string, token: bigint): void {
    assert.ok(
      this.#recorded.has(`${leaf}/${proxy}/0 ${nonce} ${token}`),
      `${proxy} was granted ${leaf} with ${token}, which was never recorded`,
    );
  }

  held(proxy: string, leaf: string, nonce: string): void {
    assert.ok(!this.#oneHistory, `nobody but ${proxy} can hold its slot of ${leaf}, but ${nonce} does`);
  }

  lost(proxy: string, leaf: string, token: bigint): void {
    assert.ok(!this.#oneHistory, `${proxy} holds ${leaf} with ${token}, but the view has no such record`);
  }

  viewed(_message: unknown, view: ProxyView): void {
    if (!this.#oneHistory) return;
    const truth = this.#truths.get(view.stamp.revision);
    if (truth === undefined) return;
    assert.deepEqual(view.members, truth.members, `members as of ${view.stamp.revision}`);
    assert.deepEqual(view.claims, truth.claims, `claims as of ${view.stamp.revision}`);
  }

  /** Claims in the store now: slot key to nonce and token. */
  claims(): ReadonlyMap<string, { readonly token: bigint; readonly nonce: string }> {
    return this.#claims;
  }

  members(): ReadonlyMap<string, bigint> {
    return this.#members;
  }

  #take(events: readonly StoreEvent[]): void {
    let revision = 0n;
    for (const event of events) {
      const at = event.type === 'put' ? event.kv.modRevision : event.modRevision;
      if (at !== revision && revision !== 0n) this.#revisionDone(revision);
      revision = at;
      if (event.type === 'put')
        this.#put(event.kv.key, event.kv.value, event.kv.createRevision, event.kv.createRevision === at);
      else this.#delete(event.key);
    }
    if (revision !== 0n) this.#revisionDone(revision);
  }

  #put(key: string, value: string, createRevision: bigint, created: boolean): void {
    const parsed = parseKey(key);
    if (parsed.kind === 'member') {
      const incarnation = fold(decodeMember(value)?.epoch ?? 0n, createRevision);
      if (created) this.#rises(this.#lastIncarnation, parsed.proxy, incarnation, 'incarnation');
      this.#members.set(parsed.proxy, incarnation);
    } else if (parsed.kind === 'claim') {
      const record = decodeClaim(value);
      assert.ok(record !== undefined, `${key} holds a claim record`);
      const slot = `${parsed.claim.leaf}/${parsed.claim.proxy}/${parsed.claim.slot}`;
      const token = fold(record.epoch, createRevision);
      if (created) this.#rises(this.#lastToken, slot, token, 'token');
      this.#recorded.add(`${slot} ${record.nonce} ${token}`);
      this.#claims.set(slot, { token, incarnation: record.incarnation, nonce: record.nonce });
    }
  }

  #delete(key: string): void {
    const parsed = parseKey(key);
    if (parsed.kind === 'member') this.#members.delete(parsed.proxy);
    else if (parsed.kind === 'claim')
      this.#claims.delete(`${parsed.claim.leaf}/${parsed.claim.proxy}/${parsed.claim.slot}`);
  }

  #rises(last: Map<string, bigint>, of: string, value: bigint, what: string): void {
    const before = last.get(of) ?? 0n;
    assert.ok(value > before || !this.#oneHistory, `the ${what} of ${of} went from ${before} to ${value}`);
    last.set(of, value);
  }

  #revisionDone(revision: bigint): void {
    for (const [slot, claim] of this.#claims) {
      const proxy = slot.split('/')[1] ?? '';
      assert.equal(
        this.#members.get(proxy),
        claim.incarnation,
        `at ${revision} ${slot} is held for an incarnation that is gone`,
      );
    }
    const claims = new Map([...this.#claims].map(([slot, claim]) => [slot, claim.token]));
    this.#truths.set(revision, { members: new Map(this.#members), claims });
  }
}

function fold(epoch: bigint, createRevision: bigint): bigint {
  const value = ((epoch - 1n) << EPOCH_BITS) | createRevision;
  assert.deepEqual(toFence(value), { epoch, createRevision });
  return value;
}
