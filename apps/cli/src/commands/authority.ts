import { duration, printable, table } from '@xylem/matrix';
import { AdminService, admin } from '@xylem/wire';
import type { Registry } from '../admin-client.ts';

/** What a phase means, and what the next step forward does. */
const PHASES: Readonly<Record<string, readonly [string, string]>> = {
  steady: ['one root is trusted and signs', 'makes a second root, which nobody trusts yet'],
  prepared: ['a second root is made', 'lets everybody trust both'],
  trusted: ['both roots are trusted, the old one signs', 'lets the new one sign'],
  signing: ['both roots are trusted, the new one signs', 'ends the trust in the old one; no way back'],
};

/** The text of `xylem ca status`. */
export async function showAuthority({ channel, deadlineMs }: Registry, json: boolean, now: number): Promise<string> {
  const answer = await channel.unary(AdminService.getAuthority, {}, deadlineMs);
  return json ? authorityJson(answer) : authorityText(answer, now);
}

function authorityJson(answer: admin.GetAuthorityResponse): string {
  const { domain, phase, generation, roots, behind, usersUntilMs } = answer;
  const shown = roots.map(({ fingerprint, notAfterMs, state }) => ({
    fingerprint,
    state,
    notAfter: new Date(Number(notAfterMs)).toISOString(),
  }));
  const usersUntil = usersUntilMs === 0n ? {} : { usersUntil: new Date(Number(usersUntilMs)).toISOString() };
  const all = { domain, phase, generation: Number(generation), roots: shown, behind, ...usersUntil };
  return `${JSON.stringify(all, null, 2)}\n`;
}

function authorityText(answer: admin.GetAuthorityResponse, now: number): string {
  const { domain, phase, generation, roots } = answer;
  const rows = roots.map(({ fingerprint, notAfterMs, state }) =>
    [fingerprint.slice(0, 16), state, duration(Math.max(0, Number(notAfterMs) - now))].map(printable),
  );
  const lines = [
    `${printable(domain)}: ${phaseText(phase)}, generation ${generation}`,
    '',
    ...table([['ROOT', 'STATE', 'ENDS IN'], ...rows]),
    '',
    ...behindLines(answer, now),
  ];
  return `${lines.join('\n')}\n`;
}

function phaseText(phase: string): string {
  return `${printable(phase)} (${PHASES[phase]?.[0] ?? 'unknown to this version'})`;
}

/** Services follow by themselves; users by logging in again, or when what they have has ended. */
function behindLines(
  { behind, usersUntilMs }: Pick<admin.GetAuthorityResponse, 'behind' | 'usersUntilMs'>,
  now: number,
): string[] {
  if (behind.length === 0) return ['nobody is behind: every certificate follows the present phase'];
  const users = behind.filter((name) => name.startsWith('user/'));
  const others = behind.filter((name) => !name.startsWith('user/'));
  const named = (names: readonly string[]): string => names.map(printable).join(' ');
  const ends = duration(Math.max(0, Number(usersUntilMs) - now));
  return [
    ...(others.length === 0 ? [] : [`behind, until they renew: ${named(others)}`]),
    ...(users.length === 0 ? [] : [`users behind, until their certificates have ended in ${ends}: ${named(users)}`]),
  ];
}

/** One step of a rotation. The text says where it stands now, and what the next step would do. */
export async function rotateAuthority(
  { channel, deadlineMs }: Registry,
  step: 'forward' | 'back',
  force: boolean,
): Promise<string> {
  const code = step === 'forward' ? admin.RotationStep.ROTATION_STEP_FORWARD : admin.RotationStep.ROTATION_STEP_BACK;
  const answer = await channel.unary(AdminService.rotateAuthority, { step: code, force }, deadlineMs);
  const { phase } = answer;
  const next = PHASES[phase]?.[1];
  const nextLine =
    step === 'forward' && phase === 'steady'
      ? 'the rotation is over'
      : `the next step ${next ?? 'is unknown to this version'}`;
  return `${[`now ${phaseText(phase)}`, ...behindLines(answer, Date.now()), nextLine].join('\n')}\n`;
}
