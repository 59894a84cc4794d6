import { CommandError, STATUS } from './exit.ts';

const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90d`, `12h`, `30m`, `45s` in milliseconds. Throws a CommandError. */
export function readLifetime(text: string): number {
  const match = /^(\d{1,6})([smhd])$/.exec(text);
  const ms = Number(match?.[1]) * (UNITS_MS[match?.[2] ?? ''] ?? Number.NaN);
  if (Number.isSafeInteger(ms) && ms > 0) return ms;
  throw new CommandError(STATUS.usage, `${JSON.stringify(text)} is not a lifetime; write for example 90d, 12h or 30m`);
}
