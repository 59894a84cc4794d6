import type { AuditLog } from '@xylem/audit';
import { EVENT, METRIC } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import { authorityDirOf, dataDirOf } from '../config.ts';
import type { RegistrySettings } from '../config.ts';
import { adminDirectoryOf } from './own-identity.ts';
import { AuthorityPlane } from './plane.ts';
import type { PlaneNews, PlaneOptions } from './plane.ts';

const MS_PER_SECOND = 1_000;

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
    askHolder: undefined,
    onNews: (news) => logNews(telemetry, news),
  });
  telemetry.metrics.observe(METRIC.certificateExpirySeconds, () => (plane.notAfterMs - Date.now()) / MS_PER_SECOND);
  return plane;
}

function logNews({ log }: Telemetry, news: PlaneNews): void {
  switch (news.kind) {
    case 'store-awaited':
      return log.error(EVENT.storeUnreachable, { detail: news.detail, remedy: 'start the store' });
    case 'renewed':
      return log.info(EVENT.authorityRenewed, { notAfter: new Date(news.notAfterMs).toISOString() });
    case 'trust-changed':
      return log.info(EVENT.authorityTrustChanged, { phase: news.phase, generation: news.generation });
    case 'tending-failed':
      return log.warn(EVENT.authorityFailed, { detail: news.detail });
  }
}
