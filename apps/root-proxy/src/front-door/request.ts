import { parseAuthority } from '@xylem/tunnel';
import type { Authority } from '@xylem/tunnel';
import type { PeekStep } from '../sockets/peek.ts';

/** RFC 9112, 3: one space between the parts, nothing more. Node's parser takes several, and so could read another target. */
const REQUEST_LINE = /^[A-Z]{1,32} [\x21-\x7e]+ HTTP\/\d\.\d$/;
const END_OF_LINE = '\r\n';

/** Looks at the raw beginning of a request. `bytes` is all that came so far. */
export function checkRequestLine(bytes: Buffer): PeekStep<undefined> {
  const end = bytes.indexOf(END_OF_LINE);
  if (end === -1) return bytes.includes('\n') ? NO_REQUEST_LINE : { kind: 'more' };
  return REQUEST_LINE.test(bytes.toString('latin1', 0, end)) ? { kind: 'seen', value: undefined } : NO_REQUEST_LINE;
}

const NO_REQUEST_LINE = { kind: 'malformed', detail: 'the first line is not an HTTP/1.1 request line' } as const;

/** The head of one CONNECT request as Node's parser read it. */
export interface ConnectHead {
  /** Request target, raw. */
  readonly target: string;
  readonly httpVersion: string;
  /** Names and values in turn, as sent. */
  readonly rawHeaders: readonly string[];
}

export type ConnectCheck =
  | { readonly ok: true; readonly authority: Authority }
  /** One line for the person at the other end; foreign text is quoted and escaped. */
  | { readonly ok: false; readonly problem: string };

/**
 * Whether a CONNECT request means exactly one thing. Anything that two parsers could read differently is refused: the
 * request may have passed another proxy that read it its own way (RFC 9110, 9.3.6; RFC 9112, 3.2.3 and 6.3).
 */
export function checkConnect(head: ConnectHead): ConnectCheck {
  const problem = checkVersion(head.httpVersion) ?? checkHeaders(head);
  if (problem !== undefined) return { ok: false, problem };
  return parseAuthority(head.target, 'required');
}

function checkVersion(version: string): string | undefined {
  return version === '1.1' || version === '1.0' ? undefined : `HTTP/${version} is not spoken here; use HTTP/1.1`;
}

function checkHeaders(head: ConnectHead): string | undefined {
  const hosts = valuesOf(head.rawHeaders, 'host');
  if (hosts.length > 1) return 'the request has more than one Host header';
  if (hosts.length === 0 && head.httpVersion === '1.1') return 'the request has no Host header';
  // RFC 9110, 7.2 and 9.3.6: a client sends the target's authority. Whoever routed by Host may have meant another node.
  if (hosts.length === 1 && hosts[0]?.toLowerCase() !== head.target.toLowerCase())
    return 'the Host header names something else than the target of CONNECT';
  if (valuesOf(head.rawHeaders, 'transfer-encoding').length > 0)
    return 'CONNECT has no body: Transfer-Encoding is not allowed';
  const lengths = valuesOf(head.rawHeaders, 'content-length');
  if (lengths.some((length) => length !== '0') || lengths.length > 1)
    return 'CONNECT has no body: Content-Length is not allowed';
  if (valuesOf(head.rawHeaders, 'upgrade').length > 0) return 'CONNECT cannot be combined with Upgrade';
  return undefined;
}

function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.toLowerCase() === name) values.push(rawHeaders[index + 1] ?? '');
  }
  return values;
}
