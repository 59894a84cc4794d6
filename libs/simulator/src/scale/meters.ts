import type { ProxyId } from '@xylem/discovery';

/** What one root proxy has done since it was counted last. */
export interface ProxyMeter {
  gossipMessages: number;
  gossipBytes: number;
  handshakes: number;
  shed: number;
  /** Handshakes begun, by second of virtual time. */
  readonly perSecond: Map<number, number>;
}

/** Counts of all root proxies; `restart` begins a new phase. */
export class Meters {
  readonly #proxies = new Map<ProxyId, ProxyMeter>();

  of(proxy: ProxyId): ProxyMeter {
    let meter = this.#proxies.get(proxy);
    if (meter === undefined) {
      meter = { gossipMessages: 0, gossipBytes: 0, handshakes: 0, shed: 0, perSecond: new Map() };
      this.#proxies.set(proxy, meter);
    }
    return meter;
  }

  restart(): void {
    this.#proxies.clear();
  }

  handshake(proxy: ProxyId, now: number): void {
    const meter = this.of(proxy);
    const second = Math.floor(now / 1_000);
    meter.handshakes += 1;
    meter.perSecond.set(second, (meter.perSecond.get(second) ?? 0) + 1);
  }

  all(): readonly ProxyMeter[] {
    return [...this.#proxies.values()];
  }

  sum(of: (meter: ProxyMeter) => number): number {
    return this.all().reduce((total, meter) => total + of(meter), 0);
  }

  /** Most handshakes that one root proxy began within a second. */
  peakOfOne(): number {
    return Math.max(0, ...this.all().flatMap(({ perSecond }) => [...perSecond.values()]));
  }

  /** Most handshakes that all of them together began within a second. */
  peakOfAll(): number {
    const seconds = new Map<number, number>();
    for (const { perSecond } of this.#proxies.values()) {
      for (const [second, count] of perSecond) seconds.set(second, (seconds.get(second) ?? 0) + count);
    }
    return Math.max(0, ...seconds.values());
  }
}

/** Fast chance for very many entities: one sequence each, whatever the site. */
export class SequenceRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ 0x85ebca6b) >>> 0;
  }

  /** mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let bits = this.#state;
    bits = Math.imul(bits ^ (bits >>> 15), bits | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 4_294_967_296;
  }
}
