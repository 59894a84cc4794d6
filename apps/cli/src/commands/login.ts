import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import {
  ACCESS_TOKEN_FILE,
  EnrolmentError,
  KeyFileError,
  hasIdentity,
  isUserPin,
  logIn,
  readIdentityFolder,
  shownRoot,
  trustByPin,
  userPinOf,
  waysToLogIn,
} from '@xylem/identity';
import type { EnrolmentAddress, LoginProof, Secret, WaysIn } from '@xylem/identity';
import { parseHostPort } from '@xylem/service';
import { CommandError, STATUS } from '../exit.ts';

export interface LoginOptions {
  /** Load balancers in front of root proxies (port 7200) or registries' enrolment (7101); tried in turn. */
  readonly root: readonly string[];
  /** What later commands talk to; default: port 7202 of the first one. */
  readonly access: readonly string[] | undefined;
  /** undefined: single sign-on. */
  readonly user: string | undefined;
  readonly pin: string | undefined;
  readonly directory: string;
  readonly domain: string;
}

/** What a login needs of the outside. */
export interface LoginPorts {
  readonly note: (text: string) => void;
  readonly password: () => Promise<Secret<string>>;
  readonly idToken: (ways: NonNullable<WaysIn['oidc']>, nonce: string) => Promise<Secret<string>>;
  /** Whether a person says that this is the pin an administrator told them; undefined: nobody is there to ask. */
  readonly confirmPin: ((pin: string) => Promise<boolean>) | undefined;
}

const ACCESS_PORT = 7202;
const CLIENT_FILE = 'client.yaml';

/** The text of `xylem login`: until when it lasts, and where everything is. Rejects with a CommandError. */
export async function loginUser(options: LoginOptions, ports: LoginPorts): Promise<string> {
  const directory = resolve(options.directory);
  const addresses = options.root.map(addressOf);
  const [first] = addresses;
  if (first === undefined) throw new CommandError(STATUS.usage, 'where to log in is missing; add --root <host>:7200');
  const { domain } = options;
  try {
    const trust = await trustOf(options, addresses, directory, ports);
    const proof = await proofOf(options, addresses, trust, ports);
    const login = await logIn({ directory, addresses, domain, trust, proof });
    const wrote = writeClientFile(directory, options, first);
    const until = new Date(login.facts.notAfterMs).toISOString();
    return [
      `logged in as ${login.user} until ${until}; certificate and key are in ${directory}`,
      `access token for tools without certificates: ${join(directory, ACCESS_TOKEN_FILE)}`,
      ...(wrote === undefined ? [] : [wrote]),
      '',
    ].join('\n');
  } catch (error) {
    throw explained(error);
  }
}

function addressOf(text: string): EnrolmentAddress {
  const parsed = parseHostPort(text);
  if (parsed !== undefined && parsed.port > 0) return parsed;
  throw new CommandError(STATUS.usage, `${JSON.stringify(text)} is not an address; write host:port`);
}

/** By the pin; by what an earlier login left; or by a person who compares the pin. */
async function trustOf(
  { pin, domain }: LoginOptions,
  addresses: readonly EnrolmentAddress[],
  directory: string,
  { note, confirmPin }: LoginPorts,
): Promise<string> {
  if (pin !== undefined) {
    if (!isUserPin(pin))
      throw new CommandError(STATUS.usage, '--pin is sha256: and 64 hex digits; see xylem users add');
    return trustByPin(addresses, domain, pin);
  }
  if (hasIdentity(directory)) return readIdentityFolder(directory).material.ca;
  const root = await shownRoot(addresses, domain);
  const shown = userPinOf(root);
  if (confirmPin === undefined) {
    throw new CommandError(STATUS.usage, 'nothing says which root cluster is the right one; add --pin sha256:...');
  }
  note(
    `the root cluster at ${addresses.map(({ host, port }) => `${host}:${port}`).join(', ')} shows the pin\n  ${shown}\n`,
  );
  if (await confirmPin(shown)) return root;
  throw new CommandError(STATUS.denied, 'then do not log in there; ask an administrator for the pin');
}

async function proofOf(
  { user, domain }: LoginOptions,
  addresses: readonly EnrolmentAddress[],
  trust: string,
  ports: LoginPorts,
): Promise<LoginProof> {
  if (user !== undefined) return { kind: 'password', user, password: await ports.password() };
  const { oidc } = await waysToLogIn(addresses, domain, trust);
  if (oidc === undefined) {
    throw new CommandError(STATUS.usage, 'there is no single sign-on there; log in with --user NAME');
  }
  return { kind: 'idToken', fetch: (nonce) => ports.idToken(oidc, nonce) };
}

/** What the commands that use the login need; a file that is there is somebody's, and stays. */
function writeClientFile(directory: string, options: LoginOptions, first: EnrolmentAddress): string | undefined {
  const path = join(directory, CLIENT_FILE);
  if (existsSync(path)) return undefined;
  const host = first.host.includes(':') ? `[${first.host}]` : first.host;
  const roots = options.access ?? [`${host}:${ACCESS_PORT}`];
  mkdirSync(dirname(path), { recursive: true });
  const lines = [
    `root: ${JSON.stringify(roots)}`,
    `domain: ${options.domain}`,
    `identityDir: ${JSON.stringify(directory)}`,
  ];
  writeFileSync(path, `${lines.join('\n')}\n`, { flag: 'wx', mode: 0o644 });
  return `wrote ${path}: root proxies are reached at ${roots.join(', ')}`;
}

/** The access token of a login, for `xylem login --print-token`. Throws a CommandError when there is none. */
export function readAccessToken(directory: string): string {
  try {
    return `${readFileSync(join(directory, ACCESS_TOKEN_FILE), 'utf8').trim()}\n`;
  } catch (error) {
    throw new CommandError(STATUS.usage, `${directory} holds no access token; log in first: xylem login`, {
      cause: error,
    });
  }
}

function explained(error: unknown): unknown {
  if (error instanceof KeyFileError) return new CommandError(STATUS.usage, error.message, { cause: error });
  if (!(error instanceof EnrolmentError)) return error;
  const text = error.remedy === '' ? error.message : `${error.message}; ${error.remedy}`;
  const status = error.stage !== 'answer' ? STATUS.unavailable : error.final ? STATUS.denied : STATUS.temporary;
  return new CommandError(status, text, { cause: error });
}
