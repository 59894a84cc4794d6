import type { AuditLog } from '@xylem/audit';
import { askForIntermediate, joinOnce, readIdentityFacts } from '@xylem/identity';
import type { EnrolmentAddress } from '@xylem/identity';
import { parseHostPort } from '@xylem/service';
import { EVENT, METRIC, credentialHooks } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import { authorityDirOf, dataDirOf } from '../config.ts';
import type { RegistrySettings } from '../config.ts';
import { adminDirectoryOf } from './own-identity.ts';
import { AuthorityPlane } from './plane.ts';
import type { PlaneNews, PlaneOptions, RootHolder } from './plane.ts';

const MS_PER_SECOND = 1_000;
const CLONE_REMEDY =
  'its key was copied; find out where, then: xylem identities unlock, and join again with a new token';

/** The certificate authority that the configuration asks for; see AuthorityPlane.open. */
export async function openPlane(
  settings: RegistrySettings,
  store: PlaneOptions['store'],
  audit: AuditLog,
  telemetry: Telemetry,
): Promise<AuthorityPlane> {
  const plane = await AuthorityPlane.open({
    domain: settings.domain,
    registry: settings.id,
    directory: authorityDirOf(settings),
    adminDirectory: adminDirectoryOf(dataDirOf(settings)),
    certificateTtlMs: settings.authority.certificateTtlMs,
    userTtlMs: settings.authority.userTtlMs,
    store,
    audit,
    holder: holderOf(settings, telemetry),
    onNews: (news) => logNews(telemetry, news),
  });
  telemetry.metrics.observe(METRIC.certificateExpirySeconds, () => (plane.notAfterMs - Date.now()) / MS_PER_SECOND);
  return plane;
}

/** Another registry, where this one is configured to join it. */
function holderOf({ domain, id, identity }: RegistrySettings, telemetry: Telemetry): RootHolder | undefined {
  if (identity === undefined) return undefined;
  const { dir: directory, tokenFile, enrol } = identity;
  const configured = (enrol ?? []).flatMap((text) => parseHostPort(text) ?? []);
  const addresses = (): readonly EnrolmentAddress[] =>
    configured.length > 0 ? configured : (readIdentityFacts(directory)?.enrol ?? []);
  const { onNews } = credentialHooks(telemetry);
  const joinCommand = `xylem registry join --token-file - --registry <another>:7101 --name ${id} --identity-dir ${directory}`;
  const folder = { directory, tokenFile, addresses, joinCommand };
  const random = { next: () => Math.random() };
  const wanted = { kind: 'registry', registry: id } as const;
  return {
    join: async () => {
      const stored = await joinOnce({ domain, identity: wanted, tls: undefined, folder, random, onNews }, folder);
      return stored.material;
    },
    ask: (request, material) => askForIntermediate({ addresses: addresses(), domain, material }, request),
  };
}

function logNews({ log, metrics }: Telemetry, news: PlaneNews): void {
  switch (news.kind) {
    case 'store-awaited':
      return log.error(EVENT.storeUnreachable, { detail: news.detail, remedy: 'start the store' });
    case 'renewed':
      return log.info(EVENT.authorityRenewed, { notAfter: new Date(news.notAfterMs).toISOString() });
    case 'trust-changed':
      return log.info(EVENT.authorityTrustChanged, { phase: news.phase, generation: news.generation });
    case 'cloned':
      metrics.counter(METRIC.clonedIdentities).add();
      return log.error(EVENT.identityLocked, { identity: news.identity, address: news.address, remedy: CLONE_REMEDY });
    case 'put-back':
      return log.warn(EVENT.authorityPutBack, { key: news.key });
    case 'tending-failed':
      return log.warn(EVENT.authorityFailed, { detail: news.detail });
  }
}
