import { STATUS_CODES } from 'node:http';
import type { DialOutcome } from '@xylem/tunnel';

/** What the front door tells a client whose request opened no connection. */
export interface Refusal {
  readonly status: number;
  /** Machine-readable cause, sent as `Xylem-Outcome`: a dial outcome, or why no dial was made. */
  readonly outcome: string;
  /** One line for a person. */
  readonly reason: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** docs/ARCHITECTURE.md, "The way of a connection". `connected` has no refusal. */
const STATUS: Readonly<Record<Exclude<DialOutcome, 'connected'>, number>> = {
  invalid: 400,
  denied: 403,
  'no-such-leaf': 404,
  'no-such-node': 404,
  refused: 502,
  unreachable: 502,
  'tunnel-lost': 502,
  'leaf-offline': 503,
  overloaded: 503,
  'timed-out': 504,
};

/** RFC 9110, 11.7.1. A certificate of a user is the third way, for which HTTP has no scheme. */
const CHALLENGE = { 'Proxy-Authenticate': 'Bearer realm="xylem", Basic realm="xylem", charset="UTF-8"' };

/** Said to a client that must come back as somebody. */
export const LOGIN_WANTED: Refusal = {
  status: 407,
  outcome: 'login-wanted',
  reason:
    'log in with xylem login, then present the certificate (curl: --proxy-cert, --proxy-key) or the access token as proxy password',
  headers: CHALLENGE,
};

/** @param reason One line that holds nothing of the token. */
export function tokenRefused(reason: string): Refusal {
  return { status: 407, outcome: 'token-refused', reason, headers: CHALLENGE };
}

export const ONLY_CONNECT: Refusal = {
  status: 405,
  outcome: 'method',
  reason: 'only CONNECT is served here; try: curl -p -x <this address> http://<node>.<leaf>/',
  headers: { Allow: 'CONNECT' },
};

export function refusalOf(outcome: Exclude<DialOutcome, 'connected'>, detail: string): Refusal {
  return { status: STATUS[outcome], outcome, reason: detail === '' ? outcome : detail };
}

export function badRequest(reason: string): Refusal {
  return { status: 400, outcome: 'invalid', reason };
}

/** The whole answer, connection-closing. Control characters in the reason are replaced: it may quote what a peer sent. */
export function renderRefusal(refusal: Refusal): string {
  const body = `${oneLine(refusal.reason)}\n`;
  const headers = {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': String(Buffer.byteLength(body)),
    Connection: 'close',
    'Xylem-Outcome': refusal.outcome,
    ...refusal.headers,
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status] ?? 'Error'}\r\n${lines.join('')}\r\n${body}`;
}

/** @param via Root proxies and then the agent that the connection passes; names only, all of them checked ones. */
export function renderConnected(via: readonly string[]): string {
  const way = via.length === 0 ? '' : `Xylem-Via: ${via.join(', ')}\r\n`;
  return `HTTP/1.1 200 Connection established\r\n${way}\r\n`;
}

function oneLine(text: string): string {
  // C0, C1 and DEL, line and paragraph separators, and the characters that reorder text.
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, ' ');
}
