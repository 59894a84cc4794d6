const CERTIFICATE = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g;
const LINE_LENGTH = 64;

/** DER of each certificate in a PEM text, in its order; other blocks and text between them are passed over. */
export function derOfPem(text: string): readonly Buffer[] {
  return [...text.matchAll(CERTIFICATE)].map(([, body = '']) => Buffer.from(body, 'base64'));
}

/** PEM of certificates, one after the other. */
export function pemOfDer(...certificates: readonly Uint8Array[]): string {
  return certificates.map(block).join('');
}

function block(der: Uint8Array): string {
  const body = Buffer.from(der).toString('base64');
  const lines: string[] = [];
  for (let at = 0; at < body.length; at += LINE_LENGTH) lines.push(body.slice(at, at + LINE_LENGTH));
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
