import { printable } from '@xylem/matrix';
import type { LogLine } from '../processes/service.ts';

/** Log events that tell the story of discovery; the rest is in the log files. */
const TOLD: readonly string[] = [
  'claim.granted',
  'claim.lost',
  'discovery.',
  'standby.',
  'drain.',
  'tunnel.relayed',
  'member.',
  'registry.lost',
  'lease.lost',
  'store.',
];
const UNTOLD: ReadonlySet<string> = new Set(['discovery.proxy_state_changed', 'discovery.dial_started']);
const FIELDS_MAX = 5;
const VALUE_LENGTH_MAX = 60;

/** One line for a person; undefined for what is of no interest here. */
export function tell(line: LogLine): string | undefined {
  const loud = line.level === 'warn' || line.level === 'error' || line.level === 'fatal';
  const told = TOLD.some((prefix) => line.event.startsWith(prefix)) && !UNTOLD.has(line.event);
  if (!loud && !told) return undefined;
  const fields = Object.entries(line.fields)
    .filter(([name]) => name !== 'trace_id' && name !== 'span_id')
    .slice(0, FIELDS_MAX)
    .map(([name, value]) => `${name}=${shown(value)}`);
  return [line.service.padEnd(9), line.event.replace(/[._]/g, ' '), ...fields].map(printable).join('  ');
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  return text.length > VALUE_LENGTH_MAX ? `${text.slice(0, VALUE_LENGTH_MAX)}...` : text;
}
