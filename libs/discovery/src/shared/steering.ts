import { isProxyName, type ProxyId } from './ids.ts';

/** The TLS server name that steers an attempt to `proxy`: `<proxy>.<domain>`. */
export function serverNameFor(proxy: ProxyId, domain: string): string {
  return `${proxy}.${domain}`;
}

/**
 * The root proxy that a server name asks for; undefined for the bare domain and for every name outside it. Server names
 * are compared without case and without a trailing dot (RFC 6066 section 3, RFC 4343).
 */
export function proxyOfServerName(name: string, domain: string): ProxyId | undefined {
  const label = labelBelow(name, domain);
  return label !== undefined && isProxyName(label) ? (label as ProxyId) : undefined;
}

/** Whether a server name asks for a registry's enrolment: `enrol.<domain>`. */
export function isEnrolmentServerName(name: string, domain: string): boolean {
  return labelBelow(name, domain) === 'enrol';
}

function labelBelow(name: string, domain: string): string | undefined {
  const canonical = name.toLowerCase().replace(/\.$/, '');
  const suffix = `.${domain.toLowerCase()}`;
  return canonical.endsWith(suffix) ? canonical.slice(0, -suffix.length) : undefined;
}
