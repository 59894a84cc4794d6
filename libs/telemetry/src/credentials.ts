import { EVENT, METRIC } from './names.ts';
import type { EventName } from './names.ts';
import type { LogLevel } from './log.ts';
import type { Telemetry } from './telemetry.ts';

/** What credentials tell; @xylem/identity's CredentialNews has this shape. */
export interface CredentialReport {
  readonly kind: keyof typeof LINES;
  readonly detail?: string;
  readonly notAfterMs?: number;
  readonly remainingMs?: number;
  readonly facts?: { readonly identity: string; readonly generation: number; readonly notAfterMs: number };
}

/** What there is to measure of credentials in use. */
export interface ObservedCredentials {
  notAfterMs(): number;
  renewal(): { readonly generation: number; readonly status: { readonly alarmed: boolean } } | undefined;
}

const MS_PER_SECOND = 1_000;

/** Level and event of each kind of news. Whatever ends a process in the end is an error, and says the remedy. */
const LINES = {
  joined: ['info', EVENT.identityJoined],
  'join-failed': ['warn', EVENT.identityJoinFailed],
  renewed: ['info', EVENT.identityRenewed],
  replaced: ['info', EVENT.identityReplaced],
  'renewal-failed': ['warn', EVENT.identityRenewalFailed],
  'renewal-refused': ['error', EVENT.identityRenewalRefused],
  'alarm-raised': ['error', EVENT.identityAlarmRaised],
  'alarm-cleared': ['info', EVENT.identityAlarmCleared],
  expired: ['error', EVENT.identityExpired],
  'folder-broken': ['error', EVENT.identityFolderBroken],
  reloaded: ['info', EVENT.tlsReloaded],
  'reload-failed': ['error', EVENT.tlsReloadFailed],
  untrusted: ['warn', EVENT.tlsUntrusted],
} as const satisfies Record<string, readonly [LogLevel, EventName]>;

const RENEWALS: Partial<Record<CredentialReport['kind'], string>> = {
  renewed: 'renewed',
  'renewal-failed': 'failed',
  'renewal-refused': 'refused',
};
const RELOADS: Partial<Record<CredentialReport['kind'], string>> = { reloaded: 'reloaded', 'reload-failed': 'failed' };

/** How a service shows what happens to its credentials: `onNews` while they are opened and used, `observe` once they are open. */
export function credentialHooks({ log, metrics }: Pick<Telemetry, 'log' | 'metrics'>): {
  readonly onNews: (report: CredentialReport) => void;
  readonly observe: (credentials: ObservedCredentials) => void;
} {
  return {
    onNews(report) {
      const [level, event] = LINES[report.kind];
      const { facts, detail, remainingMs } = report;
      const notAfterMs = report.notAfterMs ?? facts?.notAfterMs;
      log[level](event, {
        detail,
        identity: facts?.identity,
        generation: facts?.generation,
        notAfter: notAfterMs === undefined ? undefined : new Date(notAfterMs).toISOString(),
        remainingMs: remainingMs === undefined ? undefined : Math.round(remainingMs),
      });
      const renewal = RENEWALS[report.kind];
      if (renewal !== undefined) metrics.counter(METRIC.identityRenewals, { result: renewal }).add();
      const reload = RELOADS[report.kind];
      if (reload !== undefined) metrics.counter(METRIC.tlsReloads, { result: reload }).add();
    },
    observe(credentials) {
      metrics.observe(METRIC.certificateExpirySeconds, () => (credentials.notAfterMs() - Date.now()) / MS_PER_SECOND);
      if (credentials.renewal() === undefined) return;
      metrics.observe(METRIC.identityGeneration, () => credentials.renewal()?.generation ?? 0);
      metrics.observe(METRIC.identityAlarm, () => (credentials.renewal()?.status.alarmed === true ? 1 : 0));
    },
  };
}
