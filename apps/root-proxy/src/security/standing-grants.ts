import type { registry as wire } from '@xylem/wire';
import { now } from '../clock.ts';

export interface StandingPorts {
  /** Asks the registry of the present session. Rejects with an Error. */
  readonly ask: (leaf: string, deadlineMs: number) => Promise<wire.GetStandingGrantResponse>;
  /** For logs: one line on why a leaf cluster has none. */
  readonly onProblem: (leaf: string, detail: string) => void;
}

interface Held {
  grant: string;
  /** Until when it may be shown; 0 while there is none. */
  until: number;
  /** When it is to be asked for next. */
  due: number;
  asking: boolean;
  /** Wanted anew before the answer that is on its way came. */
  stale: boolean;
  /** The leaf cluster has a tunnel here. */
  wanted: boolean;
}

const ASK_MS = 5_000;
const RETRY_MS = 10_000;
/** One that is good for a few seconds only is not asked for all the time. */
const MIN_RENEWAL_MS = 1_000;
/** Asked for at once; a change of the policy makes all of them due. */
const MAX_ASKING = 8;
const TICK_MS = 1_000;

/** Keeps a standing grant at hand for each leaf cluster that has a tunnel here: asked for with the first, renewed at half its life. */
export class StandingGrants {
  readonly #ports: StandingPorts;
  readonly #held = new Map<string, Held>();
  readonly #timer: NodeJS.Timeout;
  #asking = 0;

  constructor(ports: StandingPorts) {
    this.#ports = ports;
    this.#timer = setInterval(() => this.#askDue(), TICK_MS).unref();
  }

  /** The leaf clusters that have a tunnel here now. What others have is not renewed, and kept for as long as it is good: tunnels come back. */
  keep(leaves: ReadonlySet<string>): void {
    for (const [leaf, held] of this.#held) held.wanted = leaves.has(leaf);
    for (const leaf of leaves) {
      if (this.#held.has(leaf)) continue;
      this.#held.set(leaf, { grant: '', until: 0, due: 0, asking: false, stale: false, wanted: true });
    }
    this.#askDue();
  }

  /** A registry answers again: what is missing is asked for. */
  fill(): void {
    for (const held of this.#held.values()) if (held.until <= now()) held.due = 0;
    this.#askDue();
  }

  /** The policy has changed: all are asked for anew. The old ones may be shown until then. */
  renewAll(): void {
    for (const held of this.#held.values()) {
      held.due = 0;
      held.stale = held.asking;
    }
    this.#askDue();
  }

  /** undefined: there is none that is still good. */
  get(leaf: string): string | undefined {
    const held = this.#held.get(leaf);
    return held !== undefined && now() < held.until ? held.grant : undefined;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#held.clear();
  }

  #askDue(): void {
    for (const [leaf, held] of this.#held) {
      if (!held.wanted && !held.asking && held.until <= now()) this.#held.delete(leaf);
      if (!held.wanted) continue;
      if (this.#asking >= MAX_ASKING) return;
      if (!held.asking && held.due <= now()) void this.#ask(leaf, held);
    }
  }

  async #ask(leaf: string, held: Held): Promise<void> {
    held.asking = true;
    this.#asking += 1;
    const askedAt = now();
    try {
      const { grant, validMs } = await this.#ports.ask(leaf, ASK_MS);
      held.grant = grant;
      held.until = grant === '' ? 0 : askedAt + validMs;
      // Without any there is nothing to renew; a change of configuration comes with another session.
      held.due = grant === '' ? Number.POSITIVE_INFINITY : now() + Math.max(MIN_RENEWAL_MS, validMs / 2);
    } catch (error) {
      held.due = now() + RETRY_MS;
      this.#ports.onProblem(leaf, error instanceof Error ? error.message : String(error));
    }
    if (held.stale) held.due = 0;
    held.stale = false;
    held.asking = false;
    this.#asking -= 1;
    this.#askDue();
  }
}
