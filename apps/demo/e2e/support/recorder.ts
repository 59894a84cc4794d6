import type { LogLine } from '../../src/processes/service.ts';

/** A log line with the moment at which it was read, of `performance.now()`. */
export interface RecordedLine extends LogLine {
  readonly at: number;
}

interface Waiter {
  readonly look: () => boolean;
}

/** Every log line of a deployment, in the order of arrival, and a way to wait for one. */
export class Recorder {
  readonly lines: RecordedLine[] = [];
  readonly #waiters = new Set<Waiter>();

  readonly take = (line: LogLine): void => {
    this.lines.push({ ...line, at: performance.now() });
    for (const waiter of [...this.#waiters]) if (waiter.look()) this.#waiters.delete(waiter);
  };

  /** Lines of one event, of one service where it is given, since a moment. */
  events(event: string, service?: string, since = 0): readonly RecordedLine[] {
    return this.lines.filter(
      (line) => line.event === event && line.at >= since && (service === undefined || line.service === service),
    );
  }

  /** Resolves with what `find` finds, now or after a later line. Rejects after the deadline, naming what was waited for. */
  until<T>(what: string, find: () => T | undefined, deadlineMs: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = (): boolean => {
        const found = find();
        if (found === undefined) return false;
        clearTimeout(timer);
        resolve(found);
        return true;
      };
      const waiter = { look };
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        reject(new Error(`not within ${deadlineMs} ms: ${what}\n${this.#tail()}`));
      }, deadlineMs);
      if (!look()) this.#waiters.add(waiter);
    });
  }

  #tail(): string {
    const shown = this.lines.slice(-TAIL_LINES);
    return shown.map(({ service, event, fields }) => `  ${service} ${event} ${JSON.stringify(fields)}`).join('\n');
  }
}

const TAIL_LINES = 25;
