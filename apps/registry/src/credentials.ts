import { openCredentials } from '@xylem/identity';
import type { Credentials, EnrolmentAddress } from '@xylem/identity';
import { parseHostPort } from '@xylem/service';
import { credentialHooks } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import type { RegistrySettings } from './config.ts';

/** Opens the configured credentials, joins another registry first where that is due, and keeps them current. */
export async function openOwnCredentials(settings: RegistrySettings, telemetry: Telemetry): Promise<Credentials> {
  const { domain, id, tls, identity } = settings;
  const hooks = credentialHooks(telemetry);
  const enrol = (identity?.enrol ?? []).map(enrolmentAddress);
  const credentials = await openCredentials({
    domain,
    identity: { kind: 'registry', registry: id },
    tls,
    folder:
      identity === undefined
        ? undefined
        : {
            directory: identity.dir,
            tokenFile: identity.tokenFile,
            addresses: () => enrol,
            joinCommand: `xylem registry join --token-file - --registry <another>:7101 --name ${id} --identity-dir ${identity.dir}`,
          },
    random: { next: () => Math.random() },
    onNews: hooks.onNews,
  });
  hooks.observe(credentials);
  return credentials;
}

function enrolmentAddress(text: string): EnrolmentAddress {
  const parsed = parseHostPort(text);
  if (parsed === undefined) throw new Error('assertion failed: the configuration was not checked');
  return parsed;
}
