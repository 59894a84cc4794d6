import { verifyAudit } from '@xylem/audit';
import type { AuditFault, AuditReport } from '@xylem/audit';
import { printable } from '@xylem/matrix';
import { assertReadable } from '../text-file.ts';

export interface VerifyOptions {
  readonly json: boolean;
  /** Chain of a line that must be met, from an earlier report. */
  readonly expect?: string;
}

export interface Verdict {
  readonly text: string;
  readonly sound: boolean;
}

/** The text of `xylem audit verify`: what the files hold, and every place where the chain is broken. */
export async function verifyFiles(paths: readonly string[], { json, expect }: VerifyOptions): Promise<Verdict> {
  assertReadable(paths);
  const report = await verifyAudit(paths, expect);
  const sound = report.faults.length === 0;
  return { text: json ? `${JSON.stringify({ sound, ...report }, null, 2)}\n` : reportText(report), sound };
}

function reportText({ lines, head, firstSequence, lost, faults }: AuditReport): string {
  const parts = faults.map(faultLine);
  if (lines === 0) return `${parts.join('')}no audit lines\n`;
  parts.push(
    `${lines} lines, ${firstSequence} to ${head.sequence}; ${faults.length === 0 ? 'the chain is whole' : 'the chain is broken'}\n`,
  );
  if (firstSequence > 1) parts.push(`lines before ${firstSequence} are in files that were not given\n`);
  if (lost > 0) parts.push(`the log itself says that ${lost} lines were lost while it could not be written\n`);
  parts.push(`head ${head.chain}\n`);
  return parts.join('');
}

function faultLine({ path, line, what }: AuditFault): string {
  return `${printable(path)}:${line}: ${what}\n`;
}
