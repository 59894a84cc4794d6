import { existsSync } from 'node:fs';
import type { RenewalConfig, RenewalStatus, Random } from '@xylem/authority';
import { readOwnUris } from './chain.ts';
import { joinByToken } from './enrolment.ts';
import type { JoinAs } from './enrolment.ts';
import { EnrolmentError } from './enrolment-error.ts';
import { hasIdentity, readIdentityFolder } from './identity-folder.ts';
import type { EnrolmentAddress, StoredIdentity } from './identity-folder.ts';
import { describeIdentity, parseIdentity } from './identity.ts';
import type { Identity } from './identity.ts';
import { IdentityKeeper } from './identity-keeper.ts';
import type { IdentityNews } from './identity-keeper.ts';
import { parseJoinToken } from './join-token.ts';
import { KeyFileError } from './key-file.ts';
import { readSecret } from './secret-file.ts';
import type { TlsFiles } from './tls-material.ts';
import { fileTlsSource, isSignedByOwn } from './tls-source.ts';
import type { TlsSource } from './tls-source.ts';

/** What a service's credentials tell, beside what an identity that joined does. */
export type CredentialNews =
  | IdentityNews
  /** Joined at first start. */
  | { readonly kind: 'joined'; readonly facts: StoredIdentity['facts'] }
  | { readonly kind: 'join-failed'; readonly detail: string }
  /** PEM files of other origin were replaced by newer ones. */
  | { readonly kind: 'reloaded'; readonly notAfterMs: number }
  | { readonly kind: 'reload-failed'; readonly detail: string }
  /** Own certificate and own trust do not belong together: everybody else will refuse it. */
  | { readonly kind: 'untrusted'; readonly detail: string };

/** Where a service's credentials come from: exactly one of `tls` and `identity`. */
export interface CredentialOptions {
  readonly domain: string;
  /** Who the configuration says this process is. */
  readonly identity: Identity;
  /** PEM files that somebody else renews. */
  readonly tls: TlsFiles | undefined;
  /** The folder of an identity that joins by token and renews itself. */
  readonly folder:
    | {
        readonly directory: string;
        /** Used when nobody has joined with the folder yet, or when what it holds has ended. `-`: standard input. */
        readonly tokenFile: string | undefined;
        /** Asked each time. */
        readonly addresses: () => readonly EnrolmentAddress[];
        /** For messages: how a person joins by hand. */
        readonly joinCommand: string;
      }
    | undefined;
  readonly random: Random;
  readonly onNews: (news: CredentialNews) => void;
  readonly schedule?: Partial<RenewalConfig>;
}

/** The credentials of one process, current at any time. */
export interface Credentials extends TlsSource {
  notAfterMs(): number;
  /** See IdentityKeeper; nothing where the files come from elsewhere. */
  trustChanged(generation: number): void;
  /** Of an identity that joined; undefined for files of other origin. */
  renewal(): { readonly generation: number; readonly status: RenewalStatus } | undefined;
  close(): void;
}

/** Credentials cannot be had. The message is one line that names the thing and the remedy. */
export class CredentialError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CredentialError';
  }
}

/** Whether credentials cannot be had because of what is configured, or of the files it names: starting again does not help. */
export function isCredentialProblem(error: unknown): boolean {
  return error instanceof CredentialError || error instanceof KeyFileError;
}

const JOIN_RETRY_MIN_MS = 500;
const JOIN_RETRY_MAX_MS = 10_000;

/**
 * Opens a service's credentials. Where it has to join first and no registry answers, it tries again until one does. Rejects with a
 * CredentialError or KeyFileError when trying again cannot help, or when the files are somebody else's.
 */
export async function openCredentials(options: CredentialOptions): Promise<Credentials> {
  const { tls, folder } = options;
  if (tls !== undefined) return openFiles(options, tls);
  if (folder === undefined) throw new CredentialError('neither tls nor identity is configured');
  await joinIfNeeded(options, folder);
  const keeper = new IdentityKeeper({
    directory: folder.directory,
    addresses: folder.addresses,
    random: options.random,
    onNews: options.onNews,
    ...(options.schedule === undefined ? {} : { schedule: options.schedule }),
  });
  const problem = mismatch(keeper.current().cert, options, `identity.dir: ${folder.directory} holds`);
  if (problem !== undefined) {
    keeper.close();
    throw new CredentialError(problem);
  }
  return {
    current: () => keeper.current(),
    verify: keeper.verify,
    onChange: (listener) => keeper.onChange(listener),
    notAfterMs: () => keeper.notAfterMs(),
    trustChanged: (generation) => keeper.trustChanged(generation),
    renewal: () => ({ generation: keeper.facts().generation, status: keeper.status() }),
    close: () => keeper.close(),
  };
}

/**
 * The identity of a folder, joined first where that is due, for who needs it once and renews nothing. Rejects as `openCredentials`.
 */
export async function joinOnce(options: CredentialOptions, folder: CredentialFolder): Promise<StoredIdentity> {
  await joinIfNeeded(options, folder);
  const stored = readIdentityFolder(folder.directory);
  const problem = mismatch(stored.material.cert, options, `identity.dir: ${folder.directory} holds`);
  if (problem !== undefined) throw new CredentialError(problem);
  return stored;
}

function openFiles(options: CredentialOptions, tls: TlsFiles): Credentials {
  const { onNews } = options;
  const source = fileTlsSource(tls, {
    onProblem: ({ message }) => onNews({ kind: 'reload-failed', detail: message }),
    onReload: (notAfterMs) => onNews({ kind: 'reloaded', notAfterMs }),
  });
  const problem = mismatch(source.current().cert, options, `tls.cert: ${tls.cert} is`);
  if (problem !== undefined) {
    source.close();
    throw new CredentialError(problem);
  }
  if (!isSignedByOwn(source.current())) {
    const detail = `${tls.cert} was not signed by an authority in ${tls.ca}: whoever trusts the same closes the connection`;
    onNews({ kind: 'untrusted', detail });
  }
  return {
    current: () => source.current(),
    verify: source.verify,
    onChange: (listener) => source.onChange(listener),
    notAfterMs: () => source.notAfterMs(),
    trustChanged: () => undefined,
    renewal: () => undefined,
    close: () => source.close(),
  };
}

/** Everybody would refuse a process whose certificate names somebody else: better said here, with the remedy. */
function mismatch(cert: string, { domain, identity: wanted }: CredentialOptions, subject: string): string | undefined {
  const uris = readOwnUris(cert);
  const found = 'kind' in uris ? uris : parseIdentity(uris, domain);
  if (found.kind === 'problem') return `${subject} a certificate that cannot be used: ${found.detail}`;
  const [is, should] = [describeIdentity(found), describeIdentity(wanted)];
  if (is === should) return undefined;
  return `${subject} the certificate of ${is}, the configuration says ${should}; correct the names there or use the right files`;
}

export type CredentialFolder = NonNullable<CredentialOptions['folder']>;

async function joinIfNeeded(options: CredentialOptions, folder: CredentialFolder): Promise<void> {
  const { directory, tokenFile, joinCommand } = folder;
  const ended = endOf(directory);
  if (ended === undefined) return;
  const what =
    ended === 'none'
      ? `identity.dir: ${directory} holds no identity`
      : `identity.dir: the identity in ${directory} ended at ${ended}`;
  const remedy = `make a token at a registry (${tokenCommand(options.identity)}) and run: ${joinCommand}`;
  if (tokenFile === undefined) throw new CredentialError(`${what}; ${remedy}`);
  if (tokenFile !== '-' && !existsSync(tokenFile)) {
    throw new CredentialError(`${what}, and identity.tokenFile ${tokenFile} does not exist; ${remedy}`);
  }
  const token = parseJoinToken((await readSecret(tokenFile, 'join token')).reveal());
  if (token === undefined) {
    throw new CredentialError(`identity.tokenFile: ${tokenFile} holds no join token; they begin with xylem-join.`);
  }
  const join = { directory, domain: options.domain, token, as: joinAs(options.identity) };
  for (let failures = 0; ; failures += 1) {
    try {
      const { facts } = await joinByToken({ ...join, addresses: folder.addresses() });
      return options.onNews({ kind: 'joined', facts });
    } catch (error) {
      const detail = joinFailure(error, what);
      options.onNews({ kind: 'join-failed', detail });
    }
    await pause(Math.min(JOIN_RETRY_MAX_MS, JOIN_RETRY_MIN_MS * 2 ** Math.min(failures, 10)), options.random);
  }
}

/** When the identity in the folder ended, or that there is none; undefined while it is good. */
function endOf(directory: string): string | undefined {
  if (!hasIdentity(directory)) return 'none';
  const { notAfterMs } = readIdentityFolder(directory).facts;
  return Date.now() < notAfterMs ? undefined : new Date(notAfterMs).toISOString();
}

/** The text of a failure after which trying again may help; otherwise it is thrown. */
function joinFailure(error: unknown, what: string): string {
  if (!(error instanceof EnrolmentError)) throw error;
  const detail = error.remedy === '' ? error.message : `${error.message}; ${error.remedy}`;
  if (error.final) throw new CredentialError(`${what}, and joining was refused: ${detail}`, { cause: error });
  return detail;
}

function joinAs(identity: Identity): JoinAs {
  switch (identity.kind) {
    case 'agent':
      return { role: 'agent', leaf: identity.leaf, name: identity.agent };
    case 'proxy':
      return { role: 'proxy', name: identity.proxy };
    case 'registry':
      return { role: 'registry', name: identity.registry };
    case 'user':
      throw new Error('assertion failed: users log in, they do not join');
  }
}

function tokenCommand(identity: Identity): string {
  return identity.kind === 'agent'
    ? `xylem tokens add --leaf ${identity.leaf}`
    : `xylem tokens add --role ${identity.kind}`;
}

function pause(ms: number, random: Random): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms * (0.5 + 0.5 * random.next('join.retry'))));
}
