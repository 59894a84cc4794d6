import type { Lane, OpenLane } from '@xylem/carrier';
import { ByteQuotas } from '@xylem/quota';
import type { ByteFlow, ByteQuotaStatus } from '@xylem/quota';
import { now } from '../clock.ts';
import { dialler } from './quotas.ts';
import type { DialOrder } from './types.ts';

/** Bytes a second that are carried for one user, and for one leaf cluster. Undefined: as many as go. */
export interface ByteLimits {
  readonly perUser: { readonly bytesPerSecond?: number | undefined };
  readonly perLeaf: { readonly bytesPerSecond?: number | undefined };
}

/** One frame, or one read of a socket. */
const QUANTUM_BYTES = 65_536;
/** Takes a slow core two to three milliseconds, the longest that somebody who types has to wait behind those who copy. */
const TURN_BYTES = 4 * QUANTUM_BYTES;

/**
 * Says which of the connections that this root proxy carries are read now. Without it a turn of the event loop lasts as long as there is
 * something to read, and those who copy files decide how long everybody else waits. Held back is held back at the socket, by
 * back-pressure.
 */
export class Pacer {
  readonly #quotas: ByteQuotas;
  readonly #lanes = new Map<ByteFlow, () => void>();
  /** Set while the next turn is to be begun. */
  #turn: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor({ perUser, perLeaf }: ByteLimits) {
    this.#quotas = new ByteQuotas({
      userBytesPerSecond: perUser.bytesPerSecond,
      groupBytesPerSecond: perLeaf.bytesPerSecond,
      quantumBytes: QUANTUM_BYTES,
      turnBytes: TURN_BYTES,
    });
  }

  /** Opens the lanes of one connection, one for each direction. Users count where they come in, as in DialQuotas. */
  lane(order: Pick<DialOrder, 'user' | 'source' | 'leaf' | 'hops'>): OpenLane {
    const user = order.hops === 0 ? dialler(order) : undefined;
    return (go) => this.#open(user, order.leaf, go);
  }

  status(): ByteQuotaStatus {
    return this.#quotas.status();
  }

  #open(user: string | undefined, group: string, go: () => void): Lane {
    const flow = this.#quotas.open({ user, group }, now());
    this.#lanes.set(flow, go);
    return {
      passed: (bytes) => {
        this.#turn ??= setImmediate(() => this.#begin());
        return this.#quotas.spend(flow, bytes, now());
      },
      close: () => {
        this.#lanes.delete(flow);
        this.#quotas.close(flow, now());
      },
    };
  }

  #begin(): void {
    this.#turn = undefined;
    clearTimeout(this.#timer);
    for (const flow of this.#quotas.turn(now())) this.#lanes.get(flow)?.();
    const at = now();
    const due = this.#quotas.nextTimeout(at);
    if (due === undefined || this.#turn !== undefined) return;
    if (due <= at) this.#turn = setImmediate(() => this.#begin());
    else this.#timer = setTimeout(() => this.#begin(), Math.ceil(due - at)).unref();
  }
}
