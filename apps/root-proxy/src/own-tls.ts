import { X509Certificate } from 'node:crypto';
import { describeIdentity, fileTlsSource, isSignedByOwn, parseIdentity } from '@xylem/identity';
import type { FileTlsSource } from '@xylem/identity';
import { OperatingError } from '@xylem/service';
import { EVENT, METRIC } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import type { ProxyConfig } from './config.ts';

const UNTRUSTED = 'tls.cert was not signed by an authority in tls.ca: whoever trusts the same closes the connection';

/** Opens the configured credentials and keeps them current. Throws an OperatingError when they cannot serve this proxy. */
export function openTls(config: ProxyConfig, telemetry: Telemetry): FileTlsSource {
  const { log, metrics } = telemetry;
  const source = fileTlsSource(config.tls, {
    onProblem: (problem) => {
      metrics.counter(METRIC.tlsReloads, { result: 'failed' }).add();
      log.error(EVENT.tlsReloadFailed, { detail: problem.message });
    },
    onReload: (notAfterMs) => {
      metrics.counter(METRIC.tlsReloads, { result: 'reloaded' }).add();
      log.info(EVENT.tlsReloaded, { notAfter: new Date(notAfterMs).toISOString() });
    },
  });
  metrics.observe(METRIC.certificateExpirySeconds, () => (source.notAfterMs() - Date.now()) / 1_000);
  const problem = identityProblem(source.current().cert, config);
  if (problem !== undefined) {
    source.close();
    throw new OperatingError(problem);
  }
  if (!isSignedByOwn(source.current()))
    log.warn(EVENT.tlsUntrusted, { cert: config.tls.cert, ca: config.tls.ca, detail: UNTRUSTED });
  return source;
}

/** Everybody would refuse a proxy whose certificate names somebody else: better said here, with the remedy. */
function identityProblem(cert: string, { domain, id, tls }: ProxyConfig): string | undefined {
  const names = new X509Certificate(cert).subjectAltName ?? '';
  const uris = names.split(', ').flatMap((name) => (name.startsWith('URI:') ? [name.slice('URI:'.length)] : []));
  const identity = parseIdentity(uris, domain);
  if (identity.kind === 'problem') return `tls.cert: ${tls.cert} cannot be used: ${identity.detail}`;
  if (identity.kind === 'proxy' && identity.proxy === id) return undefined;
  const whose = `tls.cert: ${tls.cert} is the certificate of ${describeIdentity(identity)}`;
  return `${whose}, the configuration says root proxy ${id}; set id accordingly or use the right files`;
}
