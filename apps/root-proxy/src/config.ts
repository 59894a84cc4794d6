import { isName, isProxyName } from '@xylem/discovery';
import {
  address,
  commonKeys,
  durationMs,
  listenAddress,
  loadConfig,
  name,
  parseHostPort,
  withCredentials,
} from '@xylem/service';
import type { ConfigInput, ConfigOutcome } from '@xylem/service';
import * as z from 'zod';

const WILDCARDS: ReadonlySet<string> = new Set(['0.0.0.0', '::']);
const REGISTRY_LIMIT = 16;
const CLAIMS_LIMIT = 8;

function plane(options: { readonly listen: string; readonly example: string; readonly who: string }) {
  return z
    .strictObject({
      listen: listenAddress(options.listen).default(options.listen).describe(`address for ${options.who}`),
      advertise: address({ example: options.example })
        .optional()
        .describe('host:port where other root proxies reach it; needed when listening on a wildcard'),
    })
    .superRefine((value, context) => {
      const host = parseHostPort(value.listen)?.host;
      if (value.advertise !== undefined || host === undefined || !WILDCARDS.has(host)) return;
      const message = `is needed because ${value.listen} is a wildcard; give the host:port that other root proxies dial, for example ${options.example}`;
      context.addIssue({ code: 'custom', path: ['advertise'], message });
    });
}

/** Defaults that no person meets; a program that does is worth a look. */
const PER_USER = { dialsPerSecond: 100, dialBurst: 1_000, connections: 2_000 } as const;
const PER_LEAF = { dialsPerSecond: 500, dialBurst: 2_000, connections: 10_000 } as const;

/** Less than a frame a second would make a connection wait for minutes behind others of the same user. */
const MIN_BYTES_PER_SECOND = 65_536;

function share(defaults: {
  readonly dialsPerSecond: number;
  readonly dialBurst: number;
  readonly connections: number;
}) {
  const count = (max: number) => z.number().int().min(1).max(max);
  return z
    .strictObject({
      dialsPerSecond: count(100_000).default(defaults.dialsPerSecond).describe('dials, over time'),
      dialBurst: count(100_000).default(defaults.dialBurst).describe('dials at once, after a rest'),
      connections: count(20_000).default(defaults.connections).describe('open connections and dials under way'),
      bytesPerSecond: z
        .number()
        .int()
        .min(MIN_BYTES_PER_SECOND)
        .max(Number.MAX_SAFE_INTEGER)
        .optional()
        .describe('bytes carried, both directions together (default: as many as go)'),
    })
    .prefault({});
}

/** docs/ARCHITECTURE.md, "Listeners and configuration". */
const keys = z.strictObject({
  ...commonKeys({ opsListen: '127.0.0.1:9101' }),
  id: name()
    .refine((text) => !isName(text) || isProxyName(text), {
      error: ({ input }) => `${JSON.stringify(input)} is a server name of the registries; choose another`,
    })
    .describe('own name, unique among root proxies; the certificate must say the same'),
  registries: z
    .array(address({ example: 'registry:7100' }))
    .min(1)
    .max(REGISTRY_LIMIT)
    .describe('registry replicas, tried in turn'),
  tunnel: plane({ listen: '0.0.0.0:7200', example: 'p1:7200', who: 'leaf agents, through the load balancer' }).prefault(
    {},
  ),
  peer: plane({ listen: '0.0.0.0:7201', example: 'p1:7201', who: 'other root proxies' }).prefault({}),
  access: z
    .strictObject({
      listen: listenAddress('0.0.0.0:7202').default('0.0.0.0:7202').describe("address for users' gRPC, mTLS"),
    })
    .prefault({}),
  frontDoor: z
    .strictObject({
      listen: listenAddress('127.0.0.1:7280')
        .default('127.0.0.1:7280')
        .describe('address for HTTP CONNECT: TLS, and plaintext from loopback'),
      anonymous: z
        .enum(['never', 'loopback', 'always'])
        .default('loopback')
        .describe('who may dial without a user certificate'),
    })
    .prefault({}),
  claimsPerProxy: z
    .number()
    .int()
    .min(1)
    .max(CLAIMS_LIMIT)
    .default(1)
    .describe('agents of one leaf cluster that may hold a claim here'),
  generation: z
    .number()
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(0)
    .describe('group of root proxies for blue/green replacement'),
  limits: z
    .strictObject({
      perUser: share(PER_USER).describe('of one user; of one address for users without a name'),
      perLeaf: share(PER_LEAF).describe('of all users of one leaf cluster together'),
      handshakesPerSecond: z
        .number()
        .int()
        .min(1)
        .max(100_000)
        .optional()
        .describe(
          'TLS handshakes of tunnels begun within a second (default 50); others wait, or are told to come later',
        ),
    })
    .prefault({}),
  drain: z
    .strictObject({
      spreadMs: durationMs({ min: 0, max: 600_000 })
        .default(1_000)
        .describe('agents act within this time after a drain was announced'),
      deadlineMs: durationMs({ min: 0, max: 3_600_000 })
        .default(30_000)
        .describe('open connections are reset after this'),
    })
    .prefault({}),
});

const schema = withCredentials(keys);

export type ProxyConfig = z.output<typeof schema>;

export function readConfig(input: ConfigInput): ConfigOutcome<ProxyConfig> {
  return loadConfig(
    {
      service: 'xylem-root-proxy',
      version: VERSION,
      summary:
        'Serves tunnels to leaf agents and connections to users; one of a group of equals behind a load balancer.',
      schema,
    },
    input,
  );
}

/** Shown by --version, in hellos and in the health of the deployment. */
export const VERSION = '0.1.0';
export const SOFTWARE = `xylem-root-proxy/${VERSION}`;
