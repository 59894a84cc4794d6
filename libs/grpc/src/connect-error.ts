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
  [/certificate has expired/, "the server's certificate has expired"],
  [
    /unable to (?:verify|get)|self-signed certificate|certificate signature failure/,
    "the server's certificate is not signed by a trusted CA",
  ],
];

function remedyFor(text: string): string | undefined {
  return REMEDIES.find(([pattern]) => pattern.test(text))?.[1];
}
