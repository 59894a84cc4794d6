import type { LeafStatus } from '@xylem/discovery';
import type { tunnel } from '@xylem/wire';

/** The agent's pool as the matrix shows it. */
export function poolReport(status: LeafStatus): tunnel.PoolReport {
  return {
    entries: status.entries.map(({ proxy, state, why, via }) => ({ proxy, state, why, via: via ?? '' })),
    dialsTotal: BigInt(status.dialsTotal),
    wastedDialsTotal: BigInt(status.wastedDialsTotal),
  };
}

/** Between two reports over one tunnel (tunnel.proto). */
const INTERVAL_MS = 1_000;

/** Sends a report when it changed, at most once in INTERVAL_MS, the last change always. */
export class PoolReporter {
  readonly #read: () => tunnel.PoolReport;
  readonly #send: (report: tunnel.PoolReport) => void;
  #sent = '';
  #sentAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;

  constructor(read: () => tunnel.PoolReport, send: (report: tunnel.PoolReport) => void) {
    this.#read = read;
    this.#send = send;
  }

  /** Something may have changed. */
  touch(): void {
    if (this.#timer !== undefined) return;
    const waitMs = this.#sentAt + INTERVAL_MS - performance.now();
    if (waitMs <= 0) return this.#report();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#report();
    }, Math.ceil(waitMs)).unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #report(): void {
    const report = this.#read();
    const text = report.entries.map(({ proxy, state, why, via }) => `${proxy} ${state} ${why} ${via}`).join('\n');
    if (text === this.#sent) return;
    this.#sent = text;
    this.#sentAt = performance.now();
    this.#send(report);
  }
}
