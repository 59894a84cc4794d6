import { isGroupName, isUserName } from '@xylem/identity';
import * as z from 'zod';

const text = z.string();
const instant = z.int().nonnegative();

const passwordHash = z.object({
  /** Base64. */
  salt: text.min(1).max(128),
  hash: text.min(1).max(256),
  /** Cost of scrypt (RFC 7914): memory is 128 * N * r bytes. */
  N: z.int().min(1_024).max(1_048_576),
  r: z.int().min(1).max(32),
  p: z.int().min(1).max(16),
});

const external = z.object({
  /** Who answers for the user, and the user's unchanging name there. */
  issuer: text.min(1).max(512),
  subject: text.min(1).max(512),
  /** Groups as of the last login, good until `untilMs`: the end of what was given out at it. */
  groups: z.array(text).max(256),
  untilMs: instant,
});

const userRecord = z.object({
  name: text.refine(isUserName),
  groups: z.array(text.refine(isGroupName)).max(256),
  password: passwordHash.optional(),
  external: external.optional(),
  disabled: z.boolean(),
  changedBy: text.max(256),
  changedAtMs: instant,
});

/** How a password is kept. Never leaves the registry. */
export type PasswordHash = z.output<typeof passwordHash>;

/** What is kept of a user. Instants in milliseconds since 1970. */
export type UserRecord = z.output<typeof userRecord>;

export function encodeUser(record: UserRecord): string {
  return JSON.stringify(record);
}

/** Passes over what it does not know; undefined for a text that is no such record. */
export function decodeUser(value: string): UserRecord | undefined {
  try {
    return userRecord.safeParse(JSON.parse(value)).data;
  } catch {
    return undefined;
  }
}

/** The groups that count now, sorted: those an administrator gave, and those of a single sign-on that still holds. */
export function groupsOf(record: UserRecord, nowMs: number): readonly string[] {
  if (record.disabled) return [];
  const from = record.external === undefined || record.external.untilMs <= nowMs ? [] : record.external.groups;
  return [...new Set([...record.groups, ...from])].sort();
}
