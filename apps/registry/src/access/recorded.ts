import type { AuditEntry, AuditLog } from '@xylem/audit';

/**
 * Does something that must not happen unrecorded: the line is on disk first, and a second one says so when it did not
 * happen after all. Rejects with an AuditError, and does nothing, when the line cannot be written.
 */
export async function recorded(
  audit: AuditLog,
  entry: Omit<AuditEntry, 'outcome'>,
  run: () => Promise<boolean>,
): Promise<boolean> {
  await audit.commit({ ...entry, outcome: 'done' });
  let done = false;
  try {
    done = await run();
    return done;
  } finally {
    if (!done) audit.record({ ...entry, outcome: 'failed' });
  }
}
