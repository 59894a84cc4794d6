import assert from 'node:assert/strict';
import type { StoreState } from '@xylem/store';
import { Checker } from './checker.ts';
import { Dice } from './dice.ts';
import { ModelProxy } from './model-proxy.ts';
import { ModelReplica } from './model-replica.ts';
import type { Flight } from './model-replica.ts';
import { ModelStore } from './model-store.ts';

export interface InterleavingOptions {
  readonly seed: number;
  readonly steps: number;
  /** The store is replaced by an older backup at times. */
  readonly restores: boolean;
}

const REPLICAS = 3;
const PROXIES = ['p1', 'p2'];
const LEAVES = ['berlin', 'tokyo'];
const HEAL_MS = 90_000;
const HEAL_STEP_MS = 250;
const MAX_ROUNDS = 500;

/**
 * Replicas, root proxies and the store in any order that a seed gives: requests execute late, twice-asked, after their answer
 * was given up; watches lag and break; replicas crash; instances restart, vanish, come back. Then all heals and settles.
 */
export class Interleaving {
  readonly #options: InterleavingOptions;
  readonly #dice: Dice;
  readonly store: ModelStore;
  readonly checker: Checker;
  readonly #replicas: readonly ModelReplica[];
  readonly #proxies = new Map<string, ModelProxy>();
  /** Cut off from the store now. */
  readonly #partitioned = new Set<ModelReplica>();
  #flights: Flight[] = [];
  #backup: StoreState | undefined;
  #nonces = 0;
  #now = 0;
  readonly reached = { lateExecutions: 0, unknownThatHappened: 0, restores: 0 };

  constructor(options: InterleavingOptions) {
    this.#options = options;
    this.#dice = new Dice(options.seed);
    this.store = new ModelStore(this.#dice);
    this.checker = new Checker(this.store);
    const config = {
      duplicateGraceMs: 300,
      registerTimeoutMs: 2_000,
      requestTimeoutMs: 1_500,
      operationTimeoutMs: 500,
      listPageSize: 3,
    };
    this.#replicas = Array.from({ length: REPLICAS }, (_, index) => new ModelReplica(`r${index}`, this.store, config));
    for (const replica of this.#replicas) replica.start(0);
    for (const id of PROXIES) this.#newInstance(id);
  }

  run(): void {
    for (let step = 0; step < this.#options.steps; step += 1) {
      this.#step();
      this.#collect();
    }
    this.#heal();
    this.#checkSettled();
  }

  #step(): void {
    const roll = this.#dice.next();
    if (roll < 0.28) this.#execute(this.#dice.pick(this.#flights.filter((flight) => flight.outcome === undefined)));
    else if (roll < 0.5) this.#answer(this.#dice.pick(this.#flights.filter((flight) => !flight.answered)));
    else if (roll < 0.62) this.#dice.pick(this.#replicas)?.pumpWatch(this.#now);
    else if (roll < 0.78) this.#dice.pick([...this.#proxies.values()])?.receive(this.#now);
    else if (roll < 0.83) this.#beat();
    else if (roll < 0.93) this.#proxyActs();
    else if (roll < 0.992) this.#pass(this.#dice.below(40));
    else this.#trouble();
  }

  #proxyActs(): void {
    const proxy = this.#dice.pick([...this.#proxies.values()]);
    const leaf = this.#dice.pick(LEAVES) ?? 'berlin';
    if (proxy === undefined) return;
    if (!proxy.connected) return this.#connect(proxy);
    const roll = this.#dice.next();
    if (roll < 0.35) proxy.claim(leaf, this.#now);
    else if (roll < 0.6) proxy.unclaim(leaf, this.#now);
    else if (roll < 0.88) proxy.heartbeat(this.#now);
    else if (roll < 0.9) proxy.drain(this.#now);
    else if (roll < 0.91) proxy.leave(this.#now);
    else if (roll < 0.97) proxy.disconnect(this.#now);
    else this.#replaceInstance(proxy);
  }

  #trouble(): void {
    const replica = this.#dice.pick(this.#replicas);
    if (replica === undefined) return;
    if (this.#options.restores && this.#dice.chance(0.3)) return this.#backUpOrRestore();
    const roll = this.#dice.next();
    if (roll < 0.2) {
      replica.crash();
      replica.start(this.#now);
    } else if (roll < 0.5) replica.breakWatch(this.#now);
    else if (roll < 0.65) {
      if (this.#partitioned.size > 0) this.#partitioned.clear();
      else this.#partitioned.add(replica);
    } else if (roll < 0.75) this.#pass(this.#dice.below(12_000));
    else if (roll < 0.9) this.store.compact(this.#now);
    else this.#secondInstance();
  }

  /** A second living instance with the same id; one of the two must never be a member at the same time. */
  #secondInstance(): void {
    const id = this.#dice.pick(PROXIES) ?? 'p1';
    const rival = new ModelProxy(id, this.#nonce(), this.checker);
    this.#proxies.set(`rival of ${id}`, rival);
    this.#connect(rival);
  }

  #backUpOrRestore(): void {
    if (this.#backup === undefined || this.#dice.chance(0.6)) {
      this.#backup = this.store.snapshot();
      return;
    }
    this.checker.read();
    this.store.restore(this.#backup, this.#now);
    this.checker.restored();
    this.reached.restores += 1;
    for (const flight of this.#flights)
      if (flight.outcome === undefined) flight.outcome = { status: 'unknown', detail: 'restored' };
    for (const replica of this.#replicas) replica.breakWatch(this.#now);
  }

  #replaceInstance(proxy: ModelProxy): void {
    if (this.#dice.chance(0.15)) proxy.vanish();
    else proxy.disconnect(this.#now);
    const name = [...this.#proxies].find(([, other]) => other === proxy)?.[0] ?? proxy.id;
    this.#proxies.delete(name);
    if (name === proxy.id) this.#newInstance(proxy.id);
  }

  #newInstance(id: string): void {
    this.#proxies.set(id, new ModelProxy(id, this.#nonce(), this.checker));
  }

  #nonce(): string {
    this.#nonces += 1;
    return `n${this.#nonces}`;
  }

  #connect(proxy: ModelProxy): void {
    const replica = this.#dice.pick(this.#replicas);
    if (replica !== undefined) proxy.connect(replica, this.#now);
  }

  #execute(flight: Flight | undefined): void {
    if (flight === undefined || this.#partitioned.has(flight.replica)) return;
    if (flight.answered) this.reached.lateExecutions += 1;
    flight.outcome = this.store.execute(flight.request, this.#now);
    this.checker.read();
  }

  #answer(flight: Flight | undefined): void {
    if (flight === undefined) return;
    const lost = this.#partitioned.has(flight.replica) || flight.outcome === undefined || this.#dice.chance(0.05);
    if (lost && flight.deadline > this.#now && !this.#dice.chance(0.04)) return;
    if (lost && flight.outcome !== undefined) this.reached.unknownThatHappened += 1;
    const outcome = lost ? { status: 'unknown' as const, detail: 'no answer' } : flight.outcome;
    if (outcome !== undefined) flight.replica.answer(flight, outcome, this.#now);
  }

  #beat(): void {
    const replica = this.#dice.pick(this.#replicas);
    const beat = replica?.beats.shift();
    if (beat === undefined || replica === undefined || this.#partitioned.has(replica)) return;
    const ttlMs = this.store.keepAlive(beat.lease, this.#now);
    this.checker.read();
    if (beat.life !== replica.life || this.#dice.chance(0.1)) return;
    replica.handle({ type: 'leaseKeptAlive', lease: beat.lease, sentAt: beat.sentAt, ttlMs }, this.#now);
  }

  /** Time goes by; every replica wakes when it asked to. */
  #pass(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const due = this.#replicas
        .map((replica) => replica.core?.nextTimeout())
        .filter((at) => at !== undefined && at <= until)
        .reduce((least: number, at) => Math.min(least, at ?? least), Infinity);
      if (due === Infinity) break;
      this.#now = Math.max(this.#now, due);
      for (const replica of this.#replicas) {
        if ((replica.core?.nextTimeout() ?? Infinity) <= this.#now) replica.handle({ type: 'timeout' }, this.#now);
      }
      this.#collect();
    }
    this.#now = until;
    this.store.advance(this.#now);
    this.checker.read();
  }

  #collect(): void {
    for (const replica of this.#replicas) this.#flights.push(...replica.flights.splice(0));
    this.#flights = this.#flights.filter((flight) => !(flight.answered && flight.outcome !== undefined));
  }

  /** No more faults. What was sent long ago may still execute; every instance wants to be a member. */
  #heal(): void {
    this.#partitioned.clear();
    for (const id of PROXIES) {
      this.#proxies.get(`rival of ${id}`)?.disconnect(this.#now);
      this.#proxies.delete(`rival of ${id}`);
    }
    const until = this.#now + HEAL_MS;
    while (this.#now < until) {
      for (const flight of this.#flights.filter((candidate) => candidate.answered)) this.#execute(flight);
      for (const proxy of this.#proxies.values()) {
        if (!proxy.connected) this.#connect(proxy);
        proxy.heartbeat(this.#now);
      }
      this.#settleTurn();
      this.#pass(HEAL_STEP_MS);
    }
    this.#settleTurn();
  }

  /** Everything that is on its way arrives. */
  #settleTurn(): void {
    let rounds = 0;
    for (let busy = true; busy;) {
      this.#collect();
      busy = false;
      rounds += 1;
      assert.ok(
        rounds < MAX_ROUNDS,
        `it never gets quiet: ${JSON.stringify(
          this.#flights.map(({ request }) => request),
          bigintText,
        )}`,
      );
      for (const flight of this.#flights) {
        if (flight.outcome === undefined) this.#execute(flight);
        if (!flight.answered && flight.outcome !== undefined) flight.replica.answer(flight, flight.outcome, this.#now);
        busy = true;
      }
      for (const replica of this.#replicas) {
        while (replica.pumpWatch(this.#now)) busy = true;
        for (let beat = replica.beats.shift(); beat !== undefined; beat = replica.beats.shift()) {
          const ttlMs = this.store.keepAlive(beat.lease, this.#now);
          if (beat.life === replica.life)
            replica.handle({ type: 'leaseKeptAlive', lease: beat.lease, sentAt: beat.sentAt, ttlMs }, this.#now);
        }
      }
      for (const proxy of this.#proxies.values()) while (proxy.receive(this.#now)) busy = true;
    }
  }

  /** What the store says is what the root proxies hold, no less and no more. */
  #checkSettled(): void {
    this.checker.read();
    for (const replica of this.#replicas)
      assert.ok(replica.core?.status().ready, `${replica.name}: ${replica.core?.status().why}`);
    const held = new Map<string, { readonly token: bigint; readonly nonce: string }>();
    for (const proxy of this.#proxies.values()) {
      assert.ok(proxy.attached, `${proxy.id} (${proxy.nonce}) is a member again`);
      assert.equal(
        this.checker.members().get(proxy.id),
        proxy.incarnation,
        `${proxy.id} is a member with its own incarnation`,
      );
      for (const [leaf, slot] of proxy.slots) {
        assert.ok(
          slot.phase === 'held' || slot.phase === 'idle',
          `${proxy.id}: the claim of ${leaf} settled, not ${slot.phase}`,
        );
        if (slot.phase === 'held') held.set(`${leaf}/${proxy.id}/0`, { token: slot.token, nonce: slot.nonce });
      }
    }
    const recorded = new Map([...this.checker.claims()].map(([slot, { token, nonce }]) => [slot, { token, nonce }]));
    assert.deepEqual(recorded, held, 'claim records are exactly what is held');
  }
}

function bigintText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}
