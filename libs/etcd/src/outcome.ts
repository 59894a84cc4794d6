import { status } from '@grpc/grpc-js';
import type { StoreOutcome } from '@xylem/membership';

type Failure = Exclude<StoreOutcome, { readonly status: 'done' }>;

/** `14 UNAVAILABLE: detail`: all that etcd3 leaves of a gRPC status. */
const GRPC_MESSAGE = /^(?:\w+: )?([0-9]{1,2}) [A-Z_]+: (.*)$/s;
const MAX_DETAIL_LENGTH = 200;

/**
 * Tells what certainly did not happen from what may have. Only what never left this process, and what etcd answers
 * before it proposes anything, is certain; everything else may have been, or may still be, executed.
 */
export function failureOf(error: unknown, endpoint: string): Failure {
  const text = error instanceof Error ? error.message : String(error);
  const [, code, detail = text] = GRPC_MESSAGE.exec(text) ?? [];
  const shown = `${endpoint}: ${oneLine(detail)}`;
  // etcd3 rewrites this one beyond recognition of its code.
  if (text.includes('requested lease not found')) return { status: 'failed', cause: 'lease-not-found', detail: shown };
  switch (Number(code)) {
    case status.UNAVAILABLE:
      return neverSent(detail) ? { status: 'failed', cause: 'unavailable', detail: shown } : unknown(shown);
    case status.DEADLINE_EXCEEDED:
      return neverSent(detail) ? { status: 'failed', cause: 'unavailable', detail: shown } : unknown(shown);
    case status.OUT_OF_RANGE:
      return { status: 'failed', cause: detail.includes('compacted') ? 'compacted' : 'refused', detail: shown };
    case status.RESOURCE_EXHAUSTED:
      return exhausted(detail, shown);
    case status.NOT_FOUND:
    case status.INVALID_ARGUMENT:
    case status.PERMISSION_DENIED:
    case status.FAILED_PRECONDITION:
    case status.UNIMPLEMENTED:
    case status.UNAUTHENTICATED:
      return { status: 'failed', cause: 'refused', detail: shown };
    default:
      return unknown(shown);
  }
}

/** grpc-js's own words for a call that found no connection. */
function neverSent(detail: string): boolean {
  return detail.includes('No connection established') || detail.includes('Waiting for LB pick');
}

function exhausted(detail: string, shown: string): Failure {
  if (detail.includes('database space exceeded')) return { status: 'failed', cause: 'no-space', detail: shown };
  if (detail.includes('too many requests')) return { status: 'failed', cause: 'unavailable', detail: shown };
  return unknown(shown);
}

function unknown(detail: string): Failure {
  return { status: 'unknown', detail };
}

function oneLine(text: string): string {
  const line = text
    .replaceAll(/\s+/g, ' ')
    .replace(/^No connection established\. Last error: (?:Error: )?/, '')
    .replace(/\. Resolution note:.*$/, '')
    .trim();
  return line.length > MAX_DETAIL_LENGTH ? `${line.slice(0, MAX_DETAIL_LENGTH)}...` : line;
}
