import { openCredentials } from '@xylem/identity';
import type { Credentials, EnrolmentAddress } from '@xylem/identity';
import { parseHostPort } from '@xylem/service';
import { credentialHooks } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import type { AgentConfig } from './config.ts';

/** Opens the configured credentials, joins first where that is due, and keeps them current. */
export async function openOwnCredentials(config: AgentConfig, telemetry: Telemetry): Promise<Credentials> {
  const { domain, leaf, agent, tls, identity, root } = config;
  const hooks = credentialHooks(telemetry);
  const enrol = (identity?.enrol ?? [root]).map(enrolmentAddress);
  const credentials = await openCredentials({
    domain,
    identity: { kind: 'agent', leaf, agent },
    tls,
    folder:
      identity === undefined
        ? undefined
        : {
            directory: identity.dir,
            tokenFile: identity.tokenFile,
            addresses: () => enrol,
            joinCommand: `xylem agent join --token-file - --root ${root} --agent ${agent} --identity-dir ${identity.dir}`,
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
