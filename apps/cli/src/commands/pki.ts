import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import {
  createAuthority,
  describeIdentity,
  hasAuthority,
  isName,
  isProxyName,
  isUserName,
  makePrivateDirectory,
  openAuthority,
  writeCertificateFile,
  writeKeyFile,
} from '@xylem/identity';
import type { Identity } from '@xylem/identity';
import { identityFiles } from '../client.ts';
import { CommandError, STATUS } from '../exit.ts';
import { readLifetime } from '../lifetime.ts';

/** Makes an authority in a new folder. Refuses a folder that has one. */
export async function initAuthority(directory: string, domain: string): Promise<string> {
  if (hasAuthority(directory)) {
    throw new CommandError(STATUS.failed, `${directory} already holds an authority; use it, or choose another --dir`);
  }
  const authority = await createAuthority({ domain });
  await authority.save(directory);
  return `authority of ${domain} in ${resolve(directory)}; keep ca.key off every server\n`;
}

export interface IssueOptions {
  readonly kind: string;
  readonly name: string;
  readonly directory: string;
  readonly out: string;
  readonly domain: string;
  readonly ttl: string;
  /** Replace what is in `out`. */
  readonly force: boolean;
}

/** Writes ca.pem, cert.pem and key.pem into a folder of their own. */
export async function issueCertificate(options: IssueOptions): Promise<string> {
  const identity = readIdentity(options.kind, options.name);
  const ttlMs = readLifetime(options.ttl);
  const files = identityFiles(options.out);
  if (!options.force && existsSync(files.key)) {
    throw new CommandError(STATUS.failed, `${files.key} exists; choose another --out, or add --force to replace it`);
  }
  if (!hasAuthority(options.directory)) {
    const remedy = `make one with: xylem pki init --dir ${options.directory}`;
    throw new CommandError(STATUS.failed, `${options.directory} holds no authority; ${remedy}`);
  }
  const authority = await openAuthority(options.directory, { domain: options.domain });
  const issued = await authority.issue(identity, ttlMs);
  makePrivateDirectory(options.out);
  writeKeyFile(files.key, issued.key.reveal());
  writeCertificateFile(files.cert, issued.cert);
  writeCertificateFile(files.ca, issued.ca);
  return `${describeIdentity(identity)} in ${resolve(options.out)}, valid until ${new Date(issued.notAfterMs).toISOString()}\n`;
}

/** `proxy p1`, `registry r1`, `user alice`, `agent berlin/a1`. */
function readIdentity(kind: string, name: string): Identity {
  const usage = (text: string): CommandError => new CommandError(STATUS.usage, text);
  switch (kind) {
    case 'proxy':
    case 'registry':
      if (!isName(name)) {
        throw usage(`${JSON.stringify(name)} is not a name; use 1 to 63 of a-z 0-9 -, with no - at the ends`);
      }
      if (kind === 'proxy' && !isProxyName(name)) {
        throw usage(`${JSON.stringify(name)} is a server name of the registries; choose another for a root proxy`);
      }
      return kind === 'proxy' ? { kind, proxy: name } : { kind, registry: name };
    case 'user':
      if (!isUserName(name)) throw usage(`${JSON.stringify(name)} is not a user name; use 1 to 128 of a-z 0-9 . _ @ -`);
      return { kind, user: name };
    case 'agent': {
      const [leaf, agent, ...rest] = name.split('/');
      if (leaf === undefined || agent === undefined || rest.length > 0 || !isName(leaf) || !isName(agent)) {
        throw usage(`${JSON.stringify(name)} does not name an agent; write <leaf>/<agent>, for example berlin/a1`);
      }
      return { kind, leaf, agent };
    }
    default:
      throw usage(`${JSON.stringify(kind)} is not a kind of identity; use proxy, registry, agent or user`);
  }
}
