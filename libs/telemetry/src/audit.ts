import { EVENT, METRIC } from './names.ts';
import type { Telemetry } from './telemetry.ts';

/** How a service shows what its audit log has to say: entries without a file of their own, and whether lines can be written. */
export function auditHooks({ log, metrics }: Pick<Telemetry, 'log' | 'metrics'>): {
  readonly onEntry: (entry: object) => void;
  readonly onAlarm: (problem: Error | undefined) => void;
  readonly onHead: (head: { readonly sequence: number; readonly chain: string }) => void;
} {
  let writable = true;
  metrics.observe(METRIC.auditWritable, () => (writable ? 1 : 0));
  return {
    onEntry: (entry) => log.info(EVENT.audit, { ...entry }),
    onHead: ({ sequence, chain }) => log.info(EVENT.auditHead, { sequence, chain }),
    onAlarm: (problem) => {
      writable = problem === undefined;
      if (problem === undefined) log.info(EVENT.auditRecovered);
      else log.error(EVENT.auditFailed, { detail: problem.message });
    },
  };
}
