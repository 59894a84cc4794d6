/** All counts are the greatest allowed. */
export interface GateLimits {
  readonly total: number;
  readonly perAddress: number;
}

export type GateAnswer =
  /** `leave` gives the place back; idempotent. */
  | { readonly admitted: true; readonly leave: () => void }
  | { readonly admitted: false; readonly limit: 'total' | 'address' };

/**
 * Counts sockets that have not yet said who they are, in all and per address, so that a flood of silent or slow
 * handshakes holds a bounded number of descriptors and one address cannot take every place.
 */
export class Gate {
  readonly #limits: GateLimits;
  readonly #perAddress = new Map<string, number>();
  #total = 0;

  constructor(limits: GateLimits) {
    this.#limits = limits;
  }

  get waiting(): number {
    return this.#total;
  }

  admit(address: string): GateAnswer {
    if (this.#total >= this.#limits.total) return { admitted: false, limit: 'total' };
    const held = this.#perAddress.get(address) ?? 0;
    if (held >= this.#limits.perAddress) return { admitted: false, limit: 'address' };
    this.#total += 1;
    this.#perAddress.set(address, held + 1);
    let left = false;
    const leave = (): void => {
      if (left) return;
      left = true;
      this.#release(address);
    };
    return { admitted: true, leave };
  }

  #release(address: string): void {
    this.#total -= 1;
    const held = this.#perAddress.get(address) ?? 0;
    if (held <= 1) this.#perAddress.delete(address);
    else this.#perAddress.set(address, held - 1);
  }
}
