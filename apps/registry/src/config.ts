import { commonKeys, durationMs, listenAddress, loadConfig, name, readableFile } from '@xylem/service';
import type { ConfigInput, ConfigOutcome } from '@xylem/service';
import { join } from 'node:path';
import { MAX_STANDING_LIFETIME_MS } from '@xylem/identity';
import * as z from 'zod';
import { isSafeUrl } from './login/oidc-provider.ts';
import { SOFTWARE_VERSION } from './version.ts';

const ENDPOINT_LIMIT = 16;
const ENDPOINT = /^https?:\/\/(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}\/?$/;

function endpoint() {
  return z.string().superRefine((text, context) => {
    if (ENDPOINT.test(text)) return;
    const message = `${JSON.stringify(text)} is not an etcd endpoint; write http://host:port or https://host:port`;
    context.addIssue({ code: 'custom', message });
  });
}

const etcd = z.strictObject({
  kind: z.literal('etcd').default('etcd').describe('etcd, or a store of its own in a file: embedded'),
  endpoints: z.array(endpoint()).min(1).max(ENDPOINT_LIMIT).describe('client URLs of one etcd cluster, tried in turn'),
  tls: z
    .strictObject({
      ca: readableFile().describe('PEM file: authorities of https endpoints'),
      cert: readableFile().optional().describe('PEM file: client certificate for etcd'),
      key: readableFile().optional().describe('PEM file: its private key'),
    })
    .optional(),
});

const embedded = z.strictObject({
  kind: z.literal('embedded'),
  dataDir: z.string().min(1).describe('folder of the embedded store; made when missing'),
  listen: listenAddress('127.0.0.1:2379')
    .default('127.0.0.1:2379')
    .describe('where the embedded store serves the API of etcd; loopback, because whoever reaches it owns it'),
});

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

function issuerUrl() {
  return z.string().superRefine((text, context) => {
    if (isSafeUrl(text)) return;
    const message = `${JSON.stringify(text)} is no issuer; write https://host/path, or http:// for one on this machine`;
    context.addIssue({ code: 'custom', message });
  });
}

const oidc = z
  .strictObject({
    issuer: issuerUrl().describe('issuer of ID tokens, letter by letter as the provider names itself'),
    clientId: z.string().min(1).max(256).describe('public client of the provider that uses PKCE and no secret'),
    userClaim: z.string().min(1).max(64).default('email').describe('claim of the ID token that names the user'),
    groupsClaim: z.string().min(1).max(64).optional().describe('claim that lists groups; default: none are taken'),
    scopes: z
      .array(z.string().regex(/^[A-Za-z0-9._:/-]{1,128}$/))
      .max(16)
      .default(['openid', 'email'])
      .describe('what clients ask the provider for'),
  })
  .describe('Single sign-on for users: xylem login --oidc');

const keys = z.strictObject({
  ...commonKeys({ opsListen: '127.0.0.1:9100' }),
  id: name().describe('name of this replica, unique among registries; the certificate must say the same'),
  listen: listenAddress('0.0.0.0:7100')
    .default('0.0.0.0:7100')
    .describe('address for root proxies and administrators, mTLS'),
  dataDir: z
    .string()
    .min(1)
    .optional()
    .describe('folder of keys and of the administrator; default: store.dataDir, or /var/lib/xylem/<id> with etcd'),
  authority: z
    .strictObject({
      dir: z
        .string()
        .min(1)
        .optional()
        .describe('folder of the certificate authority, 0700; default: authority in dataDir; not used with tls'),
      certificateTtlMs: durationMs({ min: 10_000, max: 30 * 24 * HOUR_MS })
        .default(HOUR_MS)
        .describe('life of the certificates of agents, root proxies and registries; renewed at half of it'),
      userTtlMs: durationMs({ min: MINUTE_MS, max: 30 * 24 * HOUR_MS })
        .default(12 * HOUR_MS)
        .describe('life of the certificates of users; then they log in again'),
    })
    .prefault({}),
  enrol: z
    .strictObject({
      listen: listenAddress('0.0.0.0:7101')
        .default('0.0.0.0:7101')
        .describe('address for who joins, renews and logs in; TLS, no client certificate needed; not used with tls'),
    })
    .prefault({}),
  policy: z
    .strictObject({
      file: readableFile().optional().describe('YAML file: the first policy, for a store that has none yet'),
    })
    .optional(),
  grants: z
    .strictObject({
      offlineMs: durationMs({ min: 0, max: MAX_STANDING_LIFETIME_MS })
        .default(15 * MINUTE_MS)
        .describe('how long root proxies may go on dialling while no registry answers; 0: not at all'),
      requireSigned: z
        .boolean()
        .default(false)
        .describe("grant users' dials only when their client signed for each: not those of curl, nor access tokens"),
    })
    .prefault({}),
  oidc: oidc.optional(),
  store: z.discriminatedUnion('kind', [etcd, embedded]),
  leaseTtlMs: durationMs({ min: 2_000, max: 600_000 })
    .default(10_000)
    .describe('records of a root proxy that was lost lapse after this'),
  heartbeatIntervalMs: durationMs({ min: 100, max: 60_000 }).default(2_500).describe('how often root proxies report'),
});

/** PEM files: certificates from elsewhere. An identity: joined another registry. Neither: the first registry of its domain. */
const schema = keys.refine(({ tls, identity }) => tls === undefined || identity === undefined, {
  path: ['identity'],
  error: 'is given together with tls, and only one of them can be used; remove one',
});

export type RegistrySettings = z.output<typeof schema>;

/** Where keys are kept. */
export function dataDirOf({ dataDir, store, id }: RegistrySettings): string {
  return dataDir ?? (store.kind === 'embedded' ? store.dataDir : `/var/lib/xylem/${id}`);
}

/** Where the certificate authority is kept. */
export function authorityDirOf(settings: RegistrySettings): string {
  return settings.authority.dir ?? join(dataDirOf(settings), 'authority');
}

/** Reads file, environment and flags; every problem is listed with its key. */
export function loadRegistryConfig(input: ConfigInput): ConfigOutcome<RegistrySettings> {
  return loadConfig(
    {
      service: 'xylem-registry',
      version: SOFTWARE_VERSION,
      summary: 'Keeps membership and claims in etcd, and streams every change to the root proxies.',
      schema,
    },
    input,
  );
}
