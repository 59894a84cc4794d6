import { openAuditLog } from './log.ts';
import type { ChainHead } from './line.ts';
import type { AuditEntry, AuditError, AuditKind, AuditLog } from './types.ts';

export interface AuditSettings {
  /** undefined: no audit file; entries that no other log line tells of go to `onEntry`. */
  readonly file: string | undefined;
  readonly service: string;
  readonly instance: string;
  readonly onEntry: (entry: AuditEntry) => void;
  /** See AuditLogOptions. */
  readonly onHead?: (head: ChainHead) => void;
  readonly onAlarm: (problem: AuditError | undefined) => void;
}

/** Every service logs these as events of its own. */
const TOLD_ELSEWHERE: ReadonlySet<AuditKind> = new Set([
  'dial.allowed',
  'dial.denied',
  'dial.closed',
  'claim.granted',
  'claim.released',
]);

/** The audit log that a service's configuration asks for. Rejects with an AuditError when its file cannot be opened. */
export async function openAudit({ file, onEntry, ...settings }: AuditSettings): Promise<AuditLog> {
  if (file !== undefined) return openAuditLog({ path: file, ...settings });
  const write = (entry: AuditEntry): void => {
    if (!TOLD_ELSEWHERE.has(entry.kind)) onEntry(entry);
  };
  return {
    healthy: true,
    record: write,
    commit: async (entry) => Promise.resolve(write(entry)),
    close: async () => Promise.resolve(),
  };
}
