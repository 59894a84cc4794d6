import { createHash } from 'node:crypto';
import type { AuditEntry } from './types.ts';

/** Where a log stands: what the next line continues. */
export interface ChainHead {
  /** Of the last line; 0 before the first. */
  readonly sequence: number;
  /** SHA-256 in lower-case hex; of nothing before the first line. */
  readonly chain: string;
}

export const FIRST_HEAD: ChainHead = { sequence: 0, chain: '0'.repeat(64) };

/** Longest line that is written or read, in characters: 29 texts of 256 characters, each escaped as six, and some room. */
export const MAX_LINE_CHARACTERS = 65_536;
const MAX_TEXT_CHARACTERS = 256;
const MAX_DETAILS = 12;

/** Which process writes. */
export interface AuditWriter {
  readonly service: string;
  readonly instance: string;
}

export interface ChainedLine {
  /** Without the line feed. */
  readonly text: string;
  readonly head: ChainHead;
}

/**
 * One line of JSON with its keys in fixed order, so that the same entry always gives the same bytes. `chain` comes last: the
 * SHA-256 over the previous line's chain, a line feed, and the line without its chain.
 */
export function chainLine(after: ChainHead, atMs: number, writer: AuditWriter, entry: AuditEntry): ChainedLine {
  const sequence = after.sequence + 1;
  const body = asciiJson({
    sequence,
    time: new Date(atMs).toISOString(),
    service: cut(writer.service),
    instance: cut(writer.instance),
    kind: entry.kind,
    actor: cut(entry.actor),
    subject: cut(entry.subject),
    outcome: entry.outcome,
    details: sorted(entry.details ?? {}),
  });
  const chain = chainOf(after.chain, body);
  return { text: `${body.slice(0, -1)},"chain":"${chain}"}`, head: { sequence, chain } };
}

const LINE = /^(?<body>\{.*),"chain":"(?<chain>[0-9a-f]{64})"\}$/;

/** A line read back. */
export type ReadLine =
  | {
      readonly kind: 'line';
      readonly body: string;
      readonly chain: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  | { readonly kind: 'malformed' };

export function readLine(text: string): ReadLine {
  const groups = text.length <= MAX_LINE_CHARACTERS ? LINE.exec(text)?.groups : undefined;
  const { body, chain } = groups ?? {};
  if (body === undefined || chain === undefined) return { kind: 'malformed' };
  try {
    const fields: unknown = JSON.parse(`${body}}`);
    return isRecord(fields) ? { kind: 'line', body: `${body}}`, chain, fields } : { kind: 'malformed' };
  } catch {
    return { kind: 'malformed' };
  }
}

/** The chain that a line with this body has when it follows a line with that chain. */
export function chainOf(previous: string, body: string): string {
  return createHash('sha256').update(`${previous}\n${body}`).digest('hex');
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function sorted(
  details: Readonly<Record<string, string | number | boolean>>,
): Record<string, string | number | boolean> {
  const entries = Object.entries(details).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(
    entries.slice(0, MAX_DETAILS).map(([key, value]) => [cut(key), typeof value === 'string' ? cut(value) : value]),
  );
}

function cut(text: string): string {
  return text.length > MAX_TEXT_CHARACTERS ? `${text.slice(0, MAX_TEXT_CHARACTERS)}...` : text;
}

/** JSON in printable ASCII, so that no terminal or reader acts on what a name contains. */
function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
