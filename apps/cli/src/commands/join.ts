import { hostname } from 'node:os';
import { resolve } from 'node:path';
import {
  EnrolmentError,
  KeyFileError,
  isName,
  isProxyName,
  joinByToken,
  parseJoinToken,
  readIdentityFacts,
  readSecret,
} from '@xylem/identity';
import type { EnrolmentAddress, JoinAs, JoinToken, StoredIdentity } from '@xylem/identity';
import { parseHostPort } from '@xylem/service';
import { CommandError, STATUS } from '../exit.ts';

export interface JoinOptions {
  readonly role: 'agent' | 'proxy' | 'registry';
  /** A file, or `-` for standard input. */
  readonly tokenFile: string;
  /** host:port, tried in turn: the load balancer of root proxies, or registries' enrolment. */
  readonly addresses: readonly string[];
  readonly domain: string;
  /** Default: the host's name. */
  readonly name?: string;
  /** Default: `/var/lib/xylem/<name>`, and `identity` below it for a registry. */
  readonly directory?: string;
}

const DATA_DIR = '/var/lib/xylem';

/** The text of a join: who this machine is now, and what to put into the configuration. */
export async function joinCluster(options: JoinOptions, note: (text: string) => void): Promise<string> {
  const name = nameOf(options);
  // A registry keeps more than its identity there.
  const standard = options.role === 'registry' ? `${DATA_DIR}/${name}/identity` : `${DATA_DIR}/${name}`;
  const directory = resolve(options.directory ?? standard);
  const addresses = options.addresses.map(addressOf);
  const token = await readToken(options.tokenFile, note);
  const as: JoinAs = { role: options.role, name };
  refuseOthersFolder(directory, options.role, name);
  try {
    return joinedText(await joinByToken({ directory, addresses, domain: options.domain, token, as }), directory);
  } catch (error) {
    throw explained(error);
  }
}

function nameOf({ role, name }: JoinOptions): string {
  const chosen = name ?? hostname().split('.')[0]?.toLowerCase() ?? '';
  const flag = role === 'agent' ? '--agent' : '--name';
  const isGood = role === 'proxy' ? isProxyName(chosen) : isName(chosen);
  if (isGood) return chosen;
  const what = name === undefined ? `this host's name ${JSON.stringify(chosen)}` : `${flag} ${JSON.stringify(chosen)}`;
  const rule = 'use 1 to 63 of a-z 0-9 -, with no - at the ends, and not enrol, join or registry for a root proxy';
  throw new CommandError(STATUS.usage, `${what} is not a name; ${rule}${name === undefined ? `, with ${flag}` : ''}`);
}

/** The folder of another identity, whose key would be gone. Said before the token is used up. Which leaf cluster it is only the token knows. */
function refuseOthersFolder(directory: string, role: JoinOptions['role'], name: string): void {
  const there = readIdentityFacts(directory)?.identity;
  if (there === undefined) return;
  const wanted =
    role === 'agent' ? /^leaf\/[^/]+\/agent\/(.+)$/ : role === 'proxy' ? /^proxy\/(.+)$/ : /^registry\/(.+)$/;
  if (wanted.exec(there)?.[1] === name) return;
  throw new CommandError(
    STATUS.usage,
    `${directory} holds the identity of ${there}; choose another folder with --identity-dir, or remove that one`,
  );
}

function addressOf(text: string): EnrolmentAddress {
  const parsed = parseHostPort(text);
  if (parsed !== undefined && parsed.port > 0) return parsed;
  throw new CommandError(STATUS.usage, `${JSON.stringify(text)} is not an address; write host:port`);
}

async function readToken(source: string, note: (text: string) => void): Promise<JoinToken> {
  if (source === '-' && process.stdin.isTTY) note('paste the join token, then Enter and Ctrl-D\n');
  const text = await readSecret(source, 'join token').catch((error: unknown) => {
    throw error instanceof KeyFileError ? new CommandError(STATUS.usage, error.message, { cause: error }) : error;
  });
  const token = parseJoinToken(text.reveal());
  if (token !== undefined) return token;
  const from = source === '-' ? 'standard input' : source;
  throw new CommandError(
    STATUS.usage,
    `${from} holds no join token; they begin with xylem-join. and come from xylem tokens add`,
  );
}

function joinedText({ facts }: StoredIdentity, directory: string): string {
  const until = new Date(facts.notAfterMs).toISOString();
  const [kind, first = '', , last = ''] = facts.identity.split('/');
  const names = kind === 'leaf' ? `leaf: ${first}\nagent: ${last}` : `id: ${first}`;
  const where = `\nidentity: { dir: ${JSON.stringify(directory)} }`;
  return `joined ${facts.domain} as ${facts.identity}; certificate until ${until}, renewed by the service\n\n${names}${where}\n`;
}

function explained(error: unknown): unknown {
  if (error instanceof KeyFileError) {
    const remedy = 'choose the folder with --identity-dir';
    return new CommandError(STATUS.usage, `${error.message}; ${remedy}`, { cause: error });
  }
  if (!(error instanceof EnrolmentError)) return error;
  const text = error.remedy === '' ? error.message : `${error.message}; ${error.remedy}`;
  const status = error.stage !== 'answer' ? STATUS.unavailable : error.final ? STATUS.denied : STATUS.temporary;
  return new CommandError(status, text, { cause: error });
}
