import { PREFIX, PREFIX_END, decodeClaim, decodeEpoch, decodeSession, parseKey, toFence } from '@xylem/membership';
import type { KeyValue } from '@xylem/membership';
import type { ProxyProcess } from './proxy-process.ts';
import type { World } from './world.ts';

const REVISION_BITS = 44n;

/** A registered root proxy as the store has it. */
export interface Registered {
  readonly createRevision: bigint;
}

/** Looks at the store itself, without delay, and remembers what was ever in it. */
export class StoreChecks {
  readonly #world: World;
  readonly #fail: (promise: string, detail: string) => void;
  readonly #lastToken = new Map<string, bigint>();
  /** Tokens that were ever recorded, by key of the claim. */
  readonly #written = new Map<string, Set<bigint>>();
  /** The last token that each life of a proxy went by, by its nonce and the key of the claim. */
  readonly #used = new Map<string, bigint>();
  /** The greatest token that anybody ever went by, by key of the claim. */
  readonly #greatest = new Map<string, bigint>();
  /** Nonce of the last instance that took the seat, by name of the proxy; kept when the seat is empty. */
  readonly #seated = new Map<string, string>();
  #claims = new Map<string, KeyValue>();
  #members: ReadonlyMap<string, Registered> = new Map();
  #revision = 0n;
  #restores = 0;
  #epoch = 0n;
  /** Epochs that were in force in times that are lost. */
  readonly #lostEpochs = new Set<bigint>();
  /** Greatest epoch that any earlier state of the store had. */
  #pastEpoch = 0n;

  constructor(world: World, fail: (promise: string, detail: string) => void) {
    this.#world = world;
    this.#fail = fail;
  }

  /** Registered root proxies as of now. */
  get members(): ReadonlyMap<string, Registered> {
    return this.#members;
  }

  /** Claim records as of now. */
  get claims(): readonly KeyValue[] {
    return [...this.#claims.values()];
  }

  /** Whether another instance has taken the seat of this one, be it gone again by now. */
  isDisplaced({ id, nonce }: ProxyProcess): boolean {
    const last = this.#seated.get(id);
    return last !== undefined && last !== nonce;
  }

  /** The epoch of this very state of the store; undefined after a restore until it was raised above all before. */
  get ownEpoch(): bigint | undefined {
    return this.#epoch > this.#pastEpoch ? this.#epoch : undefined;
  }

  /**
   * Whether the epoch in force was in force before, in a time that is lost. A replica that finds nobody who remembers draws one,
   * and one time in 64 draws what was given already; then nothing can tell the two times apart.
   */
  get isEpochDrawnAgain(): boolean {
    return this.#lostEpochs.has(this.#epoch);
  }

  /** S2 and S3 in the store: one claim per slot, tokens rise, no record of an incarnation that is over, none taken from its holder. */
  afterStep(): void {
    const { store, restores } = this.#world.store;
    if (store.revision === this.#revision && restores === this.#restores) return;
    const restored = restores !== this.#restores;
    if (restored) {
      // What comes back with a backup is older than what was there.
      this.#lastToken.clear();
      if (this.#epoch > this.#pastEpoch) this.#pastEpoch = this.#epoch;
    }
    this.#restores = restores;
    this.#revision = store.revision;
    const epoch = this.#epoch;
    const before = { members: this.#members, claims: this.#claims };
    this.#read();
    if (restored && this.#epoch < epoch) this.#lostEpochs.add(epoch);
    for (const kv of this.#claims.values()) this.#checkClaim(kv);
    if (!restored) this.#checkVanished(before.members, before.claims);
  }

  #read(): void {
    const members = new Map<string, Registered>();
    const claims = new Map<string, KeyValue>();
    for (const kv of this.#world.store.list(PREFIX, PREFIX_END)) {
      const parsed = parseKey(kv.key);
      if (parsed.kind === 'member') members.set(parsed.proxy, kv);
      if (parsed.kind === 'claim') claims.set(kv.key, kv);
      if (parsed.kind === 'session') this.#seated.set(parsed.proxy, decodeSession(kv.value)?.nonce ?? '');
      if (parsed.kind === 'epoch') this.#epoch = decodeEpoch(kv.value) ?? 0n;
    }
    this.#members = members;
    this.#claims = claims;
  }

  #checkClaim(kv: KeyValue): void {
    const parsed = parseKey(kv.key);
    if (parsed.kind !== 'claim') return;
    const record = decodeClaim(kv.value);
    if (record === undefined) return this.#fail('S2', `claim ${kv.key} cannot be read`);
    const token = ((record.epoch - 1n) << REVISION_BITS) | kv.createRevision;
    const last = this.#lastToken.get(kv.key) ?? 0n;
    if (token < last) this.#fail('S2', `token of ${kv.key} fell from ${String(last)} to ${String(token)}`);
    this.#lastToken.set(kv.key, token);
    this.#remember(kv.key, token);
    const member = this.#members.get(parsed.claim.proxy)?.createRevision ?? 'gone';
    const incarnation = toFence(record.incarnation).createRevision;
    if (member !== incarnation) {
      this.#fail(
        'S3',
        `${kv.key} belongs to incarnation ${String(incarnation)}, but ${parsed.claim.proxy} is at ${String(member)}`,
      );
    }
  }

  #remember(key: string, token: bigint): void {
    const tokens = this.#written.get(key) ?? new Set();
    tokens.add(token);
    this.#written.set(key, tokens);
  }

  /** S3: only whoever has the token takes a record away, and never while the slot is held by it. */
  #checkVanished(members: ReadonlyMap<string, Registered>, claims: ReadonlyMap<string, KeyValue>): void {
    for (const [key, old] of claims) {
      if (this.#claims.get(key)?.createRevision === old.createRevision) continue;
      const parsed = parseKey(key);
      if (parsed.kind !== 'claim') continue;
      const { proxy: name, leaf, slot } = parsed.claim;
      // With the member gone its lease was revoked or lapsed, and the claims with it.
      if (members.get(name)?.createRevision !== this.#members.get(name)?.createRevision) continue;
      if (this.#world.store.wasDeletedByHand(key)) continue;
      const held = this.#world
        .instances(name)
        .flatMap((proxy) => proxy.root?.status().tunnels ?? [])
        .find(
          (tunnel) =>
            tunnel.leaf === (leaf as string) &&
            tunnel.slot === slot &&
            tunnel.token !== 0n &&
            toFence(tunnel.token).createRevision === old.createRevision,
        );
      if (held !== undefined) {
        this.#fail(
          'S3',
          `the record of ${key} was taken from ${held.agent}, which holds the slot by token ${String(held.token)}`,
        );
      }
    }
  }

  /** S2: a token that a proxy goes by has been in the store, and is above all that it or an earlier life went by. */
  checkTokens(proxy: ProxyProcess): void {
    for (const { leaf, slot, token } of proxy.root?.status().tunnels ?? []) {
      if (slot === undefined || token === 0n) continue;
      const key = `${PREFIX}claims/${leaf}/${proxy.id}/${String(slot)}`;
      if (this.#written.get(key)?.has(token) !== true)
        this.#fail('S2', `${proxy.id} goes by token ${String(token)} of ${key}, which was never recorded`);
      const own = `${proxy.nonce} ${key}`;
      if (this.#used.get(own) === token) continue;
      this.#used.set(own, token);
      // Until somebody notices a restore, the store gives what it gave before; the epoch then takes all of that back.
      // A claim that was on its way when the epoch rose has a token of the one before: its proxy is about to register anew.
      if (this.ownEpoch === undefined || toFence(token).epoch < this.ownEpoch) continue;
      const greatest = this.#greatest.get(key) ?? 0n;
      if (token <= greatest)
        this.#fail('S2', `${proxy.id} goes by token ${String(token)} of ${key} after ${String(greatest)}`);
      this.#greatest.set(key, token);
    }
  }
}
