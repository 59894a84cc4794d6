import type { Key } from './bytes.ts';
import { ERRORS } from './errors.ts';
import type { Outcome } from './errors.ts';
import type { Instant, Random, StoreEvent } from './types.ts';

/** A lease as it is written down: its end is not, so it gets its whole time again when a store is made from it. */
export interface LeaseGrant {
  readonly id: bigint;
  /** Whole seconds. */
  readonly ttlSeconds: bigint;
}

export interface LeaseTimeToLive extends LeaseGrant {
  readonly remainingMs: number;
  /** In order. */
  readonly keys: readonly Key[];
}

interface Lease extends LeaseGrant {
  expiresAt: Instant;
  readonly keys: Set<Key>;
}

/** etcd's bound: about 285 years. */
const MAX_TTL_SECONDS = 9_000_000_000n;
const ID_HIGH = 2 ** 31;
const ID_LOW = 2 ** 32;

/** Grants, their ends, and which keys hang on them. Decides nothing about keys: the store removes those of an ended lease. */
export class Leases {
  readonly #leases = new Map<bigint, Lease>();
  readonly #leaseOf = new Map<Key, bigint>();
  readonly #minTtlSeconds: bigint;
  /** No lease ends earlier. Keepalives leave it behind; the next look at it moves it on. */
  #dueAt: Instant = Infinity;

  constructor(minTtlSeconds: number, grants: readonly LeaseGrant[], now: Instant) {
    this.#minTtlSeconds = BigInt(minTtlSeconds);
    for (const grant of grants) this.#add(grant, now);
  }

  grants(): readonly LeaseGrant[] {
    return [...this.#leases.values()].map(({ id, ttlSeconds }) => ({ id, ttlSeconds }));
  }

  has(id: bigint): boolean {
    return this.#leases.has(id);
  }

  /** `id` 0n: a random positive one. */
  grant(id: bigint, ttlSeconds: bigint, random: Random, now: Instant): Outcome<LeaseGrant> {
    if (ttlSeconds > MAX_TTL_SECONDS) return ERRORS.leaseTtlTooLarge;
    if (this.#leases.has(id)) return ERRORS.leaseExists;
    const chosen = id === 0n ? this.#freeId(random) : id;
    const raised = ttlSeconds < this.#minTtlSeconds ? this.#minTtlSeconds : ttlSeconds;
    return this.#add({ id: chosen, ttlSeconds: raised }, now);
  }

  /** Gives the lease its whole time again; undefined when there is no such lease. */
  keepAlive(id: bigint, now: Instant): LeaseGrant | undefined {
    const lease = this.#leases.get(id);
    if (lease === undefined) return undefined;
    lease.expiresAt = expiry(lease, now);
    return lease;
  }

  timeToLive(id: bigint, now: Instant): LeaseTimeToLive | undefined {
    const lease = this.#leases.get(id);
    if (lease === undefined) return undefined;
    const { ttlSeconds, expiresAt, keys } = lease;
    return { id, ttlSeconds, remainingMs: Math.max(0, expiresAt - now), keys: [...keys].sort() };
  }

  /** All ids, those that end first before the others. */
  list(): readonly bigint[] {
    return idsByExpiry([...this.#leases.values()]);
  }

  /** Ends a lease; answers its keys in order, which have to be removed, or undefined when there is no such lease. */
  end(id: bigint): readonly Key[] | undefined {
    const lease = this.#leases.get(id);
    if (lease === undefined) return undefined;
    this.#leases.delete(id);
    return [...lease.keys].sort();
  }

  /** Leases whose time is over, in order of their ends. */
  due(now: Instant): readonly bigint[] {
    if (now < this.#dueAt) return [];
    const due: Lease[] = [];
    this.#dueAt = Infinity;
    for (const lease of this.#leases.values()) {
      if (lease.expiresAt <= now) due.push(lease);
      else this.#dueAt = Math.min(this.#dueAt, lease.expiresAt);
    }
    return idsByExpiry(due);
  }

  /** When to ask for `due` next; undefined without leases. May be early, never late. */
  nextDue(): Instant | undefined {
    return this.#leases.size === 0 ? undefined : this.#dueAt;
  }

  /** Follows a write: a key hangs on the lease it was last put with. */
  follow(event: StoreEvent): void {
    const { key } = event.kv;
    const before = this.#leaseOf.get(key);
    const after = event.type === 'put' ? event.kv.lease : 0n;
    if (before === after || (before === undefined && after === 0n)) return;
    if (before !== undefined) this.#leases.get(before)?.keys.delete(key);
    this.#leaseOf.delete(key);
    const lease = this.#leases.get(after);
    if (lease === undefined) return;
    lease.keys.add(key);
    this.#leaseOf.set(key, after);
  }

  #add(grant: LeaseGrant, now: Instant): LeaseGrant {
    const lease = { ...grant, expiresAt: expiry(grant, now), keys: new Set<Key>() };
    this.#leases.set(grant.id, lease);
    this.#dueAt = Math.min(this.#dueAt, lease.expiresAt);
    return lease;
  }

  #freeId(random: Random): bigint {
    for (;;) {
      const high = BigInt(Math.floor(random.next('lease.id.high') * ID_HIGH));
      const id = (high << 32n) | BigInt(Math.floor(random.next('lease.id.low') * ID_LOW));
      if (id !== 0n && !this.#leases.has(id)) return id;
    }
  }
}

function expiry(grant: LeaseGrant, now: Instant): Instant {
  return now + Number(grant.ttlSeconds) * 1_000;
}

function idsByExpiry(leases: Lease[]): readonly bigint[] {
  return leases
    .sort((left, right) => left.expiresAt - right.expiresAt || (left.id < right.id ? -1 : 1))
    .map(({ id }) => id);
}
