import { openCredentials } from '@xylem/identity';
import type { Credentials } from '@xylem/identity';
import { parseHostPort } from '@xylem/service';
import { credentialHooks } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import type { ProxyConfig } from './config.ts';
import type { EnrolmentAddresses } from './registry/enrolment-addresses.ts';

/** Opens the configured credentials, joins first where that is due, and keeps them current. */
export async function openOwnCredentials(
  config: ProxyConfig,
  enrolment: EnrolmentAddresses,
  telemetry: Telemetry,
): Promise<Credentials> {
  const { domain, id, tls, identity } = config;
  const hooks = credentialHooks(telemetry);
  const credentials = await openCredentials({
    domain,
    identity: { kind: 'proxy', proxy: id },
    tls,
    folder:
      identity === undefined
        ? undefined
        : {
            directory: identity.dir,
            tokenFile: identity.tokenFile,
            addresses: () => enrolment.list().flatMap((address) => parseHostPort(address) ?? []),
            joinCommand: `xylem root-proxy join --token-file - --registry ${enrolment.list()[0] ?? '<registry>:7101'} --name ${id} --identity-dir ${identity.dir}`,
          },
    random: { next: () => Math.random() },
    onNews: hooks.onNews,
  });
  hooks.observe(credentials);
  return credentials;
}
