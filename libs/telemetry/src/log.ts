import { pino } from 'pino';
import type { DestinationStream, Logger } from 'pino';
import type { EventName } from './names.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Values of one line. Errors become message and code; bigints become numbers; undefined is left out. */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Structured log: one JSON line per event with time, level, service, instance, event and the fields; trace_id and span_id
 * inside a span. Whatever a field holds, the line stays one line of printable text, and known secrets are `[redacted]`.
 */
export interface Log {
  debug(event: EventName, fields?: LogFields): void;
  info(event: EventName, fields?: LogFields): void;
  warn(event: EventName, fields?: LogFields): void;
  error(event: EventName, fields?: LogFields): void;
  /** A log whose lines all carry these fields. */
  child(fields: LogFields): Log;
}

export interface LogOptions {
  readonly service: string;
  readonly instance: string;
  readonly level: LogLevel;
  /** Default: standard output, synchronously, so that no line is lost when the process ends. */
  readonly destination?: DestinationStream;
  /** Ids of the active span, as fields; undefined outside of one. */
  readonly traceFields: () => LogFields | undefined;
}

const SECRET_FIELDS = ['key', 'password', 'secret', 'authorization', 'cookie', 'joinToken', 'privateKey'];
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|(?="))/g;
/**
 * JSON escapes C0 controls. These are the others that act on terminals or readers: DEL and C1 controls, line and
 * paragraph separators, and the marks and overrides of writing direction.
 */
const UNSAFE = /[\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g;
const SOURCE_LIMIT_CHARACTERS = 4_096;

export function createLog(options: LogOptions): Log {
  const logger = pino(
    {
      level: options.level,
      base: { service: options.service, instance: options.instance },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }), log: plainFields },
      mixin: () => ({ ...options.traceFields() }),
      redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]), censor: '[redacted]' },
      hooks: { streamWrite: safeLine },
    },
    options.destination ?? pino.destination({ fd: 1, sync: true }),
  );
  return wrap(logger);
}

function wrap(logger: Logger): Log {
  return {
    debug: (event, fields) => logger.debug({ event, ...fields }),
    info: (event, fields) => logger.info({ event, ...fields }),
    warn: (event, fields) => logger.warn({ event, ...fields }),
    error: (event, fields) => logger.error({ event, ...fields }),
    child: (fields) => wrap(logger.child(plainFields({ ...fields }))),
  };
}

function plainFields(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, plain(value)]));
}

function plain(value: unknown): unknown {
  if (typeof value === 'string' && value.length > SOURCE_LIMIT_CHARACTERS)
    return `${value.slice(0, SOURCE_LIMIT_CHARACTERS)}...`;
  if (!(value instanceof Error)) return value;
  const code = 'code' in value ? value.code : undefined;
  return {
    message: value.message,
    ...(code === undefined ? {} : { code }),
    ...(value.cause === undefined ? {} : { cause: plain(value.cause) }),
  };
}

function safeLine(line: string): string {
  return line
    .replace(UNSAFE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .replace(PRIVATE_KEY, '[redacted]');
}
