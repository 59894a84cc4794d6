import type { Admission, FencingToken, Incarnation, LeafStatus, ProxyId } from '@xylem/discovery';
import type { FenceCore } from './cores.ts';
import { MarksSeen } from './marks-seen.ts';
import type { ProxyMessage } from './messages.ts';
import type { Trace } from './trace.ts';

export type NodeDial = Extract<ProxyMessage, { readonly type: 'dial' }>;

/** When a tunnel came up: for the fence, and in the order of all that was heard, for the checkers. */
export interface Admitted {
  readonly admission: Admission;
  readonly order: number;
}

/** Where a dial comes from: the tunnel that it came over. */
export interface DialSource {
  readonly proxy: ProxyId;
  readonly admitted: Admitted;
  /** Which start of the root proxy's process is at the other end: for checkers only. */
  readonly life: number;
}

/** What an agent does with users' connections: the product's fence decides, and the truth is told to the checkers. */
export class FencedDials {
  readonly #fence: FenceCore;
  readonly #seen = new MarksSeen();
  readonly #agent: string;
  readonly #trace: Trace;
  readonly #note: (what: string) => void;

  constructor(agent: string, fence: FenceCore, trace: Trace, note: (what: string) => void) {
    this.#agent = agent;
    this.#fence = fence;
    this.#trace = trace;
    this.#note = note;
  }

  /** A tunnel came up, whose welcome says this. */
  admit(proxy: ProxyId, incarnation: Incarnation, life: number): Admitted {
    const order = this.#seen.admit(proxy, { incarnation, token: 0n, life });
    return { admission: this.#fence.admit(proxy, incarnation), order };
  }

  recorded({ proxy, life }: DialSource, incarnation: Incarnation, token: FencingToken): void {
    this.#seen.see(proxy, { incarnation, token, life });
    this.#fence.raise(proxy, { incarnation, token });
  }

  believes({ stamp, entries }: LeafStatus): void {
    this.#fence.keepOnly(new Set(entries.map(({ proxy }) => proxy)));
    if (stamp === undefined) return;
    this.#fence.believes(stamp.epoch);
    this.#seen.believes(stamp.epoch);
  }

  /** Whether the node was dialled. */
  serve({ proxy, admitted }: DialSource, { incarnation, token, life }: NodeDial): boolean {
    const mark = { incarnation, token, life };
    const seen = this.#seen.of(proxy);
    const served = this.#fence.check(proxy, mark, admitted.admission) === undefined;
    this.#seen.see(proxy, mark);
    this.#trace.tell({ type: 'dialJudged', agent: this.#agent, proxy, served, mark, seen, admitted: admitted.order });
    if (served && incarnation === 0n) this.#note(`serves a dial of an unregistered ${proxy}`);
    if (!served) this.#note(`refuses a dial of ${describe(incarnation, seen.incarnation)} of ${proxy}`);
    return served;
  }
}

function describe(incarnation: bigint, seen: bigint): string {
  if (incarnation === 0n) return 'an unregistered life';
  return incarnation < seen ? 'a stale incarnation' : 'a stale token';
}
