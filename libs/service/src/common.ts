import * as z from 'zod';
import { address, domainName, httpUrl, listenAddress, readableFile } from './schemas.ts';

const ENROL_LIMIT = 16;

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

/** An identity that joins by token and renews itself. */
function identityKeys() {
  return z
    .strictObject({
      dir: z.string().min(1).describe('folder of an identity that joins by token and renews itself; instead of tls'),
      tokenFile: z
        .string()
        .min(1)
        .optional()
        .describe('file with the join token for the first start, mode 0600; not looked at once joined'),
      enrol: z
        .array(address({ example: 'registry:7101' }))
        .min(1)
        .max(ENROL_LIMIT)
        .optional()
        .describe('where to join and renew, tried in turn; default: derived from the other addresses'),
    })
    .describe('Instead of tls');
}

/**
 * Demands exactly one of `tls` and `identity`, the two ways to have a certificate. The problem is reported together with all others,
 * and names both keys.
 */
export function withCredentials<Schema extends z.ZodObject>(schema: Schema): Schema {
  return schema.refine((value) => isGiven(value, 'tls') !== isGiven(value, 'identity'), {
    path: ['identity'],
    error: ({ input }) => (isGiven(input, 'tls') ? BOTH : NEITHER),
    // Also when other keys are wrong.
    when: () => true,
  });
}

const BOTH = 'is given together with tls, and only one of them can be used; remove one';
const NEITHER =
  'is missing, and so is tls; set identity.dir, a folder to join into by token, or tls.ca, tls.cert and tls.key';

function isGiven(value: unknown, key: 'tls' | 'identity'): boolean {
  return typeof value === 'object' && value !== null && Reflect.get(value, key) !== undefined;
}

/** Keys that every service has. Spread into its `z.strictObject`, inside of `withCredentials`. */
export function commonKeys(options: { readonly opsListen: string }) {
  return {
    domain: domainName().default('xylem.internal').describe('trust domain and tunnel domain'),
    tls: tlsKeys().optional(),
    identity: identityKeys().optional(),
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
