import { Line } from './line.ts';
import type { Ticket } from './line.ts';
import type { Instant } from './types.ts';

const MS_PER_SECOND = 1_000;

export interface ByteRateLimits {
  /** More than 0. */
  readonly bytesPerSecond: number;
  /** What a key that was idle may have at once. At least 1. */
  readonly burstBytes: number;
  /** What a flow gets when it is its turn. At least 1. */
  readonly quantumBytes: number;
}

interface Bucket<Flow> {
  readonly key: string;
  level: number;
  at: Instant;
  flows: number;
  readonly line: Line<RateTicket<Flow>>;
}

export interface RateTicket<Flow> extends Ticket<Flow> {
  readonly bucket: Bucket<Flow>;
}

/**
 * Bytes per second for every key, shared by the flows of that key: each gets a quantum when it is its turn. What a flow was given and
 * has not used goes back when it ends, and what it has used beyond is charged; so in any time a key's flows read no more than the rate
 * times it, the burst, and a quantum and a read for each of them.
 *
 * Keys with flows are as many as flows. Of those without, `maxIdleKeys` are remembered, so that ending a flow and
 * beginning another forgives nothing.
 */
export class ByteRate<Flow> {
  readonly #limits: ByteRateLimits;
  readonly #maxIdleKeys: number;
  readonly #buckets = new Map<string, Bucket<Flow>>();
  /** Idle for longest first. */
  readonly #idle = new Map<string, Bucket<Flow>>();
  readonly #crowded = new Set<Bucket<Flow>>();
  #waitedMs = 0;

  constructor(limits: ByteRateLimits, maxIdleKeys: number) {
    for (const [name, least] of [
      ['bytesPerSecond', Number.MIN_VALUE],
      ['burstBytes', 1],
      ['quantumBytes', 1],
    ] as const) {
      if (!(limits[name] >= least)) throw new RangeError(`${name} ${limits[name]} is too small`);
    }
    this.#limits = limits;
    this.#maxIdleKeys = maxIdleKeys;
  }

  /** Keys that are remembered. */
  get size(): number {
    return this.#buckets.size + this.#idle.size;
  }

  /** Of all flows together, in lines that they have left. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  open(key: string, flow: Flow, now: Instant): RateTicket<Flow> {
    const bucket = this.#buckets.get(key) ?? this.#wake(key, now);
    bucket.flows += 1;
    return { flow, bucket, credit: 0, waitsSince: undefined };
  }

  /** Whether the flow may go on; if not, it waits, and `advance` will name it. */
  enter(ticket: RateTicket<Flow>, now: Instant): boolean {
    const { bucket } = ticket;
    this.#refill(bucket, now);
    while (ticket.credit < 0 && bucket.line.size === 0 && bucket.level > 0) this.#give(ticket);
    if (ticket.credit >= 0) return true;
    bucket.line.join(ticket, now);
    this.#crowded.add(bucket);
    return false;
  }

  /** Those whose turn has come, in order. */
  advance(now: Instant): readonly Flow[] {
    const flows: Flow[] = [];
    for (const bucket of this.#crowded) {
      this.#refill(bucket, now);
      while (bucket.level > 0) {
        const ticket = bucket.line.next();
        if (ticket === undefined) break;
        this.#give(ticket);
        if (ticket.credit < 0) bucket.line.join(ticket, ticket.waitsSince ?? now);
        else flows.push(this.#served(ticket, now));
      }
      if (bucket.line.size === 0) this.#crowded.delete(bucket);
    }
    return flows;
  }

  /** When `advance` will name somebody; undefined while nobody waits. */
  nextTimeout(): Instant | undefined {
    let next: Instant | undefined;
    for (const { level, at } of this.#crowded) {
      const due = at + (Math.max(0, 1 - level) / this.#limits.bytesPerSecond) * MS_PER_SECOND;
      if (next === undefined || due < next) next = due;
    }
    return next;
  }

  close(ticket: RateTicket<Flow>, now: Instant): void {
    const { bucket } = ticket;
    bucket.line.leave(ticket);
    if (bucket.line.size === 0) this.#crowded.delete(bucket);
    this.#refill(bucket, now);
    bucket.level = Math.min(this.#limits.burstBytes, bucket.level + ticket.credit);
    bucket.flows -= 1;
    if (bucket.flows > 0) return;
    this.#buckets.delete(bucket.key);
    this.#idle.set(bucket.key, bucket);
    if (this.#idle.size <= this.#maxIdleKeys) return;
    for (const key of this.#idle.keys()) return void this.#idle.delete(key);
  }

  #wake(key: string, now: Instant): Bucket<Flow> {
    const { burstBytes } = this.#limits;
    const bucket = this.#idle.get(key) ?? {
      key,
      level: burstBytes,
      at: now,
      flows: 0,
      line: new Line<RateTicket<Flow>>(),
    };
    this.#idle.delete(key);
    this.#buckets.set(key, bucket);
    return bucket;
  }

  #give(ticket: RateTicket<Flow>): void {
    ticket.credit += this.#limits.quantumBytes;
    ticket.bucket.level -= this.#limits.quantumBytes;
  }

  #served(ticket: RateTicket<Flow>, now: Instant): Flow {
    this.#waitedMs += now - (ticket.waitsSince ?? now);
    ticket.waitsSince = undefined;
    return ticket.flow;
  }

  #refill(bucket: Bucket<Flow>, now: Instant): void {
    const { bytesPerSecond, burstBytes } = this.#limits;
    bucket.level = Math.min(burstBytes, bucket.level + ((now - bucket.at) / MS_PER_SECOND) * bytesPerSecond);
    bucket.at = now;
  }
}
