import { openCredentials } from '@xylem/identity';
import type { Credentials } from '@xylem/identity';
import { credentialHooks } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import type { RegistrySettings } from './config.ts';

/** Certificates that somebody else looks after, in PEM files; undefined when there are none, so the authority is this registry's. */
export async function openExternalCredentials(
  { domain, id, tls }: RegistrySettings,
  telemetry: Telemetry,
): Promise<Credentials | undefined> {
  if (tls === undefined) return undefined;
  const hooks = credentialHooks(telemetry);
  const credentials = await openCredentials({
    domain,
    identity: { kind: 'registry', registry: id },
    tls,
    folder: undefined,
    random: { next: () => Math.random() },
    onNews: hooks.onNews,
  });
  hooks.observe(credentials);
  return credentials;
}
