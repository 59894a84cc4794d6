import { duration, printable } from '@xylem/matrix';
import { AdminService } from '@xylem/wire';
import type { admin } from '@xylem/wire';
import type { Registry } from '../admin-client.ts';
import type { Finding } from './doctor.ts';

/** Services renew at half life; a third later something is wrong. */
const OVERDUE_SHARE = 2 / 3;

/** Looks at what a registry knows: where a rotation stands, and identities that are locked, revoked or have not renewed. */
export async function diagnoseAuthority(
  { channel, deadlineMs }: Registry,
  now: number,
  found: (finding: Finding) => void,
): Promise<void> {
  const { phase, behind } = await channel.unary(AdminService.getAuthority, {}, deadlineMs);
  found(rotationFinding(phase, behind));
  const { identities } = await channel.unary(AdminService.listIdentities, {}, deadlineMs);
  const findings = identities.flatMap((record) => identityFinding(record, now) ?? []);
  for (const finding of findings) found(finding);
  const well = identities.length - findings.length;
  if (well > 0)
    found({ state: 'ok', what: 'identities', text: `${well} of ${identities.length} are as they should be` });
}

function rotationFinding(phase: string, behind: readonly string[]): Finding {
  const what = 'authority';
  const names = behind.map(printable).join(', ');
  if (phase === 'steady' && behind.length === 0) return { state: 'ok', what, text: 'one root is trusted and signs' };
  if (behind.length > 0) {
    return {
      state: 'warn',
      what,
      text: `${printable(phase)}, and behind until they renew are ${names}; see xylem ca status`,
    };
  }
  return {
    state: 'warn',
    what,
    text: `a rotation stands at ${printable(phase)}; go on with xylem ca rotate, or back with rollback`,
  };
}

function identityFinding(record: admin.IdentityRecord, now: number): Finding | undefined {
  const { state, detail, generation, issuedAtMs, notAfterMs } = record;
  const what = printable(record.identity);
  const reason = detail === '' ? '' : `: ${printable(detail)}`;
  if (state === 'locked') {
    return {
      state: 'fail',
      what,
      text: `locked${reason}; find out who copied its key, then: xylem identities unlock ${what}`,
    };
  }
  if (state === 'revoked') return { state: 'warn', what, text: `revoked${reason}` };
  const [from, to] = [Number(issuedAtMs), Number(notAfterMs)];
  const left = to - now;
  if (left < 0) {
    const remedy = what.startsWith('user/') ? 'the user logs in again' : 'is it gone? otherwise it has to join again';
    return { state: 'warn', what, text: `its certificate ended ${duration(-left)} ago; ${remedy}` };
  }
  const isOverdue = !what.startsWith('user/') && now > from + (to - from) * OVERDUE_SHARE;
  if (!isOverdue) return undefined;
  const text = `generation ${generation} should have been renewed, ${duration(left)} left; see the log of that service`;
  return { state: 'warn', what, text };
}
