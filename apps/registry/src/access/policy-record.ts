import { AUTHORITY_PREFIX } from '@xylem/authority';
import * as z from 'zod';

const entry = z.object({
  version: z.int().positive(),
  setBy: z.string().max(256),
  /** Milliseconds since 1970. */
  setAtMs: z.int().nonnegative(),
  /** Names the text; see `policyTextKey`. */
  text: z.string().regex(/^[0-9a-f]{32}$/),
});

const policyRecord = z.object({
  ...entry.shape,
  yaml: z.string(),
  /** Earlier versions, the newest first. */
  history: z.array(entry),
});

/** One version of the policy, without its text. */
export type PolicyVersion = z.output<typeof entry>;

/** The policy in force, and where earlier ones are kept. */
export type PolicyRecord = z.output<typeof policyRecord>;

/** Versions that are kept besides the one in force. */
export const MAX_HISTORY = 20;

/** Outside the prefix that every replica mirrors: up to 20 MiB that are hardly ever read. */
const TEXTS_PREFIX = `${AUTHORITY_PREFIX.slice(0, -'v1/'.length)}policy-texts/v1/`;

export function policyTextKey(text: string): string {
  return `${TEXTS_PREFIX}${text}`;
}

export function encodePolicyRecord(record: PolicyRecord): string {
  return JSON.stringify(record);
}

/** undefined for a text that is no such record. */
export function decodePolicyRecord(value: string): PolicyRecord | undefined {
  try {
    return policyRecord.safeParse(JSON.parse(value)).data;
  } catch {
    return undefined;
  }
}
