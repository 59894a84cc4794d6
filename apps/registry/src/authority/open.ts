import type { AuditLog } from '@xylem/audit';
import { parseHostPort } from '@xylem/service';
import { EVENT, METRIC } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import { authorityDirOf, dataDirOf } from '../config.ts';
import type { RegistrySettings } from '../config.ts';
import { openEnrolment } from '../enrolment/open.ts';
import type { Replica } from '../replica.ts';
import { plainAddress } from './addresses.ts';
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

/** Listens for who joins, and lets the authority begin its work. Answers with the port. */
export async function serveEnrolment(
  settings: RegistrySettings,
  plane: AuthorityPlane,
  replica: Replica,
  telemetry: Telemetry,
  closers: (() => Promise<void> | void)[],
): Promise<number> {
  const isRelay = (address: string): boolean =>
    replica.status().sessions.some((session) => hostOf(session.address) === address);
  const listener = openEnrolment({ domain: settings.domain, plane, routes: [], isRelay, telemetry });
  closers.unshift(() => listener.close());
  const port = await listener.listen(settings.enrol.listen);
  await plane.start(port);
  return port;
}

function hostOf(address: string): string {
  return plainAddress(parseHostPort(address)?.host ?? '');
}

function logNews({ log }: Telemetry, news: PlaneNews): void {
  switch (news.kind) {
    case 'store-awaited':
      return log.error(EVENT.storeUnreachable, { detail: news.detail, remedy: 'start the store' });
    case 'watch-lost':
      return log.info(EVENT.watchRestarted, { detail: news.detail });
    case 'renewed':
      return log.info(EVENT.authorityRenewed, { notAfter: new Date(news.notAfterMs).toISOString() });
    case 'trust-changed':
      return log.info(EVENT.authorityTrustChanged, { phase: news.phase, generation: news.generation });
    case 'tending-failed':
      return log.warn(EVENT.authorityFailed, { detail: news.detail });
  }
}
