import * as z from 'zod';
import { domainName, httpUrl, listenAddress, readableFile } from './schemas.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;

/** PEM files of one process. */
export function tlsKeys() {
  return z
    .strictObject({
      ca: readableFile().describe('PEM file: certificates of the authorities trusted'),
      cert: readableFile().describe('PEM file: own certificate'),
      key: readableFile().describe('PEM file: own private key, mode 0600'),
    })
    .describe('Reloaded when the files change');
}

/** Keys that every service has. Spread into its `z.strictObject`. */
export function commonKeys(options: { readonly opsListen: string }) {
  return {
    domain: domainName().default('xylem.internal').describe('trust domain and tunnel domain'),
    tls: tlsKeys(),
    ops: z
      .strictObject({
        listen: listenAddress(options.opsListen)
          .default(options.opsListen)
          .describe('HTTP address of /metrics, /healthz and /readyz; no authentication, so keep it private'),
      })
      .prefault({}),
    log: z
      .strictObject({ level: z.enum(LOG_LEVELS).default('info').describe('least severity that is logged') })
      .prefault({}),
    audit: z
      .strictObject({
        file: z.string().min(1).optional().describe('append-only audit lines, hash-chained; none: no audit file'),
        required: z
          .boolean()
          .default(false)
          .describe('refuse dials while the audit file cannot be written, instead of keeping their lines in memory'),
      })
      .prefault({}),
    telemetry: z
      .strictObject({
        otlpEndpoint: httpUrl('http://jaeger:4318')
          .optional()
          .describe('OTLP/HTTP base URL for spans; none: no spans are recorded'),
      })
      .prefault({}),
  };
}
