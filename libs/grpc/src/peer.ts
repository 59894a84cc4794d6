import type { Duplex } from 'node:stream';

/**
 * URI SANs out of Node's text form of a subjectAltName, e.g. `DNS:a, URI:spiffe://x/leaf/b`.
 *
 * A value that could be mistaken for several (comma, quote, backslash, non-printable) is a JSON string in that text since
 * CVE-2021-44532. Anything outside this grammar gives no URI at all: an identity is read whole or not at all.
 */
export function urisOfSubjectAltName(text: string): readonly string[] {
  const entry = /(?<type>[A-Za-z][A-Za-z0-9 ]*):(?<value>"(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/uy;
  const uris: string[] = [];
  while (entry.lastIndex < text.length) {
    const groups = entry.exec(text)?.groups;
    if (groups === undefined) return [];
    const value = unquoted(groups['value'] ?? '');
    if (value === undefined) return [];
    if (groups['type'] === 'URI') uris.push(value);
  }
  return uris;
}

function unquoted(value: string): string | undefined {
  if (!value.startsWith('"')) return value;
  try {
    const parsed: unknown = JSON.parse(value);
    return typeof parsed === 'string' ? parsed : undefined;
  } catch {
    return undefined;
  }
}

/** host:port of the far end of a socket; `fallback` for a connection that is no socket. */
export function addressOf(connection: Duplex, fallback: string): string {
  if (!('remoteAddress' in connection) || typeof connection.remoteAddress !== 'string') return fallback;
  const host = connection.remoteAddress.includes(':') ? `[${connection.remoteAddress}]` : connection.remoteAddress;
  return 'remotePort' in connection && typeof connection.remotePort === 'number'
    ? `${host}:${connection.remotePort}`
    : host;
}
