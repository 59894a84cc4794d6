import type { ConnectStage } from './api.ts';
import { ChannelError } from './errors.ts';

/**
 * Turns grpc-js' words about a failed connection into ours. The stage comes from Connection, the text from grpc-js,
 * which wraps the operating system's message: `No connection established. Last error: Error: connect ECONNREFUSED
 * 10.0.0.1:7200. Resolution note: ` or, from HTTP/2, `... Last error: read ECONNRESET (2026-01-01T00:00:00.000Z). ...`
 */
export function connectError(stage: ConnectStage, address: string, cause: Error): ChannelError {
  const text = plainText(cause.message);
  const unresolved = stage === 'tcp' && /\b(?:ENOTFOUND|EAI_AGAIN|EAI_FAIL|ENODATA)\b/.test(text);
  return new ChannelError(unresolved ? 'resolve' : stage, address, remedyFor(text) ?? text, { cause });
}

function plainText(message: string): string {
  const wrapped = /Last error: (?:\w*Error: )?(?<text>.*?)(?: \(\d{4}-\d\d-[^)]*\))?\. Resolution note:/s.exec(message);
  return wrapped?.groups?.['text'] ?? message;
}

const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [/ECONNREFUSED/, 'connection refused; is the server running there?'],
  [/ENOTFOUND|ENODATA/, 'the host name is unknown'],
  [/EAI_AGAIN/, 'the host name cannot be resolved now; is DNS reachable?'],
  [/EHOSTUNREACH|ENETUNREACH/, 'no route to the host'],
  [/ECONNRESET|socket disconnected before secure TLS/, 'the server closed the connection'],
  [/alert no application protocol|\bALPN\b/, 'the server speaks no gRPC; is the port right?'],
  [/wrong version number|packet length too long/, 'the server speaks no TLS; is the port right?'],
  [/certificate has expired/, "the server's certificate has expired"],
  [/certificate is not yet valid/, "the server's certificate is not valid yet; is this machine's clock right?"],
  [
    /unable to (?:verify|get)|self-signed certificate|certificate signature failure/,
    "the server's certificate is not signed by a trusted CA",
  ],
];

/** Node names everything that the certificate says; whoever reads it wants two names. */
const OTHER_NAME = /does not match certificate's altnames: Host: (\S+?)\.? is not in the cert's altnames: (.*)/;
/** `4091...:error:0A000438:SSL routines:ssl3_read_bytes:tlsv1 alert internal error:...:SSL alert number 80` */
const OPENSSL = /\berror:[0-9A-F]{8}:[^:]*:[^:]*:([^:\n]+)/;

function remedyFor(text: string): string | undefined {
  const known = REMEDIES.find(([pattern]) => pattern.test(text))?.[1];
  if (known !== undefined) return known;
  const [, wanted, names = ''] = OTHER_NAME.exec(text) ?? [];
  if (wanted !== undefined) {
    const who = /\bURI:spiffe:\/\/([^,\s]+)/.exec(names)?.[1] ?? names;
    return `the server is ${who}, not ${wanted}; are port and domain right?`;
  }
  const reason = OPENSSL.exec(text)?.[1];
  return reason === undefined ? undefined : `TLS failed: ${reason}`;
}
