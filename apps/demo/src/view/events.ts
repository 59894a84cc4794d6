import { printable } from '@xylem/matrix';
import type { LogLine } from '../processes/service.ts';

type Fields = LogLine['fields'];
type Sentence = (fields: Fields) => string | undefined;

const VALUE_LENGTH_MAX = 60;
const GENERIC_FIELDS_MAX = 4;
const NAME_WIDTH = 9;

/** What leaf agents do, in their own words. */
const AGENT: ReadonlyMap<string, Sentence> = new Map<string, Sentence>([
  ['claim.granted', (fields) => `claimed ${text(fields, 'proxy')}`],
  ['claim.lost', (fields) => `no longer holds ${text(fields, 'proxy')}: ${text(fields, 'reason')}`],
  ['standby.kept', (fields) => `stands by at ${text(fields, 'proxy')}`],
  ['standby.promoted', (fields) => `takes over ${text(fields, 'proxy')}`],
  ['discovery.mesh_completed', completed],
  ['discovery.proxy_gone', (fields) => `forgets ${text(fields, 'proxy')}`],
]);

/** What root proxies do for users. */
const PROXY: ReadonlyMap<string, Sentence> = new Map<string, Sentence>([
  [
    'connection.opened',
    (fields) => `${target(fields)} connected by way of ${text(fields, 'way')} in ${text(fields, 'durationMs')} ms`,
  ],
  ['connection.refused', (fields) => `${target(fields)}: ${text(fields, 'outcome')} (${text(fields, 'detail')})`],
  ['connection.closed', closed],
  ['drain.started', (fields) => `drains: ${text(fields, 'openConnections')} connections may finish`],
  ['drain.finished', (fields) => `drained, ${text(fields, 'cutConnections')} connections cut`],
  ['registry.lost', () => 'lost its registry; connections go on'],
]);

const REGISTRY: ReadonlyMap<string, Sentence> = new Map<string, Sentence>([
  ['member.registered', (fields) => `${text(fields, 'proxy')} joined`],
  ['member.left', (fields) => `${text(fields, 'proxy')} left`],
  ['member.expired', (fields) => `${text(fields, 'proxy')} is forgotten: its lease lapsed`],
]);

/**
 * One printable line for a person; undefined for what is of no interest here: the whole story is in the log files.
 * Warnings and errors are always told.
 */
export function tell(line: LogLine): string | undefined {
  const sentence = sentencesOf(line.service).get(line.event);
  const loud = line.level === 'warn' || line.level === 'error' || line.level === 'fatal';
  const told = sentence?.(line.fields) ?? (loud ? generic(line) : undefined);
  return told === undefined ? undefined : printable(`${line.service.padEnd(NAME_WIDTH)}  ${told}`);
}

function sentencesOf(service: string): ReadonlyMap<string, Sentence> {
  if (service === 'registry') return REGISTRY;
  return service.includes('/') ? AGENT : PROXY;
}

function completed(fields: Fields): string {
  const standbys = text(fields, 'standbys');
  const beside = standbys === '0' ? '' : `, stands by at ${standbys}`;
  return `complete after ${text(fields, 'tookMs')} ms: holds ${text(fields, 'claimed')}${beside}`;
}

function closed(fields: Fields): string {
  const { kind } = fields;
  const end = kind === 'clean' ? 'ended' : `was reset (${text(fields, 'reason')})`;
  return `${target(fields)} ${end}: ${text(fields, 'upBytes')} bytes up, ${text(fields, 'downBytes')} down`;
}

function target(fields: Fields): string {
  const port = fields['port'] === 0 ? '' : `:${text(fields, 'port')}`;
  return `${text(fields, 'node')}.${text(fields, 'leaf')}${port}`;
}

function generic({ event, fields }: LogLine): string {
  const known = Object.entries(fields).slice(0, GENERIC_FIELDS_MAX);
  return [event.replace(/[._]/g, ' '), ...known.map(([name]) => `${name}=${text(fields, name)}`)].join('  ');
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  const shown = typeof value === 'string' ? value : (JSON.stringify(value) ?? '?');
  return shown.length > VALUE_LENGTH_MAX ? `${shown.slice(0, VALUE_LENGTH_MAX)}...` : shown;
}
