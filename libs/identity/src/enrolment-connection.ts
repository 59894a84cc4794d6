import type { X509Certificate } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { connect as connectTcp, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { connect as startTls } from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { readVerifiedEndEntity } from './chain.ts';
import { EnrolmentError } from './enrolment-error.ts';
import type { EnrolmentAddress } from './identity-folder.ts';
import { describeIdentity } from './identity.ts';
import { pinOf } from './join-token.ts';

/** For each of resolve, TCP and TLS: an address that does not answer costs this once, then the next one is tried. */
const STAGE_TIMEOUT_MS = 5_000;
/** Certificates between a registry's own and its root: one intermediate, and room for one more. */
const MAX_CHAIN = 4;
const CLOSED = 'the connection was closed';

/** Where a pin came from, and how to get the right one. */
const OTHER_ROOT = {
  token: { which: 'that the token pins', remedy: 'make a new token' },
  person: { which: 'with this pin', remedy: 'ask an administrator for the pin' },
} as const;

/** What the other end of a TLS connection is checked against, and what it is shown. */
export interface TlsTrust {
  /** PEM of the roots that are trusted. */
  readonly ca: string;
  /** PEM, for renewals. */
  readonly client?: { readonly cert: string; readonly key: string };
}

/**
 * Connects to a registry's enrolment listener, directly or relayed. Resolves when the chain leads to a trusted root and names a registry of
 * the domain. Rejects with an EnrolmentError.
 */
export function connectVerified(target: EnrolmentAddress, domain: string, trust: TlsTrust): Promise<TLSSocket> {
  const { ca, client } = trust;
  return connect(target, domain, {
    ca,
    ...client,
    rejectUnauthorized: true,
    checkServerIdentity: (_host, { raw }) => notARegistry(raw, domain),
  });
}

/**
 * Reads the chain that is shown at an address, and nothing else. Returns the PEM of the root in it whose pin is one of `pins`.
 * The connection is closed without a byte sent on it; whether the rest of the chain is good is for the next one to find out.
 */
export async function fetchPinnedRoot(
  target: EnrolmentAddress,
  domain: string,
  pins: readonly string[],
  pinnedBy: keyof typeof OTHER_ROOT = 'token',
): Promise<string> {
  const socket = await connect(target, domain, { rejectUnauthorized: false });
  try {
    const chain = chainOf(socket);
    const root = chain.find((certificate) => pins.includes(pinOf(certificate.raw)));
    if (root !== undefined) return root.toString();
    const problem = notARegistry(chain[0]?.raw, domain);
    if (problem !== undefined) throw problem;
    const { which, remedy } = OTHER_ROOT[pinnedBy];
    throw new EnrolmentError(`the registry shows another root certificate than the one ${which}`, {
      stage: 'tls',
      remedy: `${remedy}; if that does not help, somebody is between this machine and the registry`,
    });
  } catch (error) {
    throw at(target, error);
  } finally {
    socket.destroy();
  }
}

/**
 * Reads the root certificate in the chain that is shown at an address, whoever shows it: PEM. Nothing says that it is the right one;
 * that is for a person who compares its pin with what an administrator said. Rejects with an EnrolmentError.
 */
export async function fetchShownRoot(target: EnrolmentAddress, domain: string): Promise<string> {
  const socket = await connect(target, domain, { rejectUnauthorized: false });
  try {
    const chain = chainOf(socket);
    const problem = notARegistry(chain[0]?.raw, domain);
    if (problem !== undefined) throw problem;
    const root = chain.at(-1);
    if (root === undefined || !root.verify(root.publicKey)) {
      throw new EnrolmentError('no root certificate is shown', { stage: 'tls' });
    }
    return root.toString();
  } catch (error) {
    throw at(target, error);
  } finally {
    socket.destroy();
  }
}

function chainOf(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let next = socket.getPeerX509Certificate();
  while (next !== undefined && chain.length < MAX_CHAIN) {
    chain.push(next);
    next = next.issuerCertificate;
  }
  return chain;
}

/** Only a registry may hear tokens and answer renewals; a root proxy's certificate has the same root. */
function notARegistry(der: Uint8Array | undefined, domain: string): EnrolmentError | undefined {
  const verified = readVerifiedEndEntity(der ?? new Uint8Array(), Date.now(), { domain, eku: 'server' });
  const identity = verified.kind === 'problem' ? verified : verified.identity;
  if (identity.kind === 'registry') return undefined;
  if (identity.kind === 'problem') {
    const remedy = "check the address, the domain (--domain) and this machine's clock";
    return new EnrolmentError(`whoever answers is no registry of ${domain}: ${identity.detail}`, {
      stage: 'tls',
      remedy,
    });
  }
  return new EnrolmentError(`${describeIdentity(identity)} answers, not a registry`, {
    stage: 'tls',
    remedy: 'the address of root proxies is that of their port for agents (7200); a registry enrols at port 7101',
  });
}

async function connect(
  target: EnrolmentAddress,
  domain: string,
  options: Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'rejectUnauthorized' | 'checkServerIdentity'>,
): Promise<TLSSocket> {
  let failure: unknown = new EnrolmentError(`${target.host} has no address`, { stage: 'resolve' });
  for (const host of await resolve(target)) {
    try {
      const socket = await open(host, target.port);
      return await secure(socket, { ...options, servername: `enrol.${domain}` });
    } catch (error) {
      failure = at(target, error);
    }
  }
  throw failure;
}

async function resolve(target: EnrolmentAddress): Promise<readonly string[]> {
  const { host } = target;
  if (isIP(host) !== 0) return [host];
  try {
    const found = await within(lookup(host, { all: true }), 'resolve', () => undefined);
    return found.map(({ address }) => address);
  } catch (error) {
    throw at(target, error instanceof EnrolmentError ? error : failed('resolve', error));
  }
}

function open(host: string, port: number): Promise<Socket> {
  const socket = connectTcp({ host, port, noDelay: true });
  const connected = new Promise<Socket>((done, fail) => {
    socket.once('connect', () => done(socket));
    socket.once('error', (error) => fail(failed('tcp', error)));
  });
  return within(connected, 'tcp', () => socket.destroy());
}

function secure(raw: Socket, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = startTls({
    ...options,
    socket: raw,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['http/1.1'],
  });
  const secured = new Promise<TLSSocket>((done, fail) => {
    socket.once('secureConnect', () => done(socket));
    socket.once('error', (error) => fail(error instanceof EnrolmentError ? error : failed('tls', error)));
    socket.once('close', () => fail(failed('tls', new Error(`${CLOSED} in the handshake`))));
  });
  // Whoever comes next hears of the end through 'close'.
  socket.on('error', () => undefined);
  return within(secured, 'tls', () => raw.destroy());
}

async function within<T>(step: Promise<T>, stage: 'resolve' | 'tcp' | 'tls', giveUp: () => void): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(failed(stage, new Error(`no answer within ${STAGE_TIMEOUT_MS} ms`)));
    giveUp();
  }, STAGE_TIMEOUT_MS);
  try {
    return await Promise.race([step, late.promise]);
  } catch (error) {
    giveUp();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function failed(stage: 'resolve' | 'tcp' | 'tls', cause: unknown): EnrolmentError {
  const text = textOf(cause);
  const remedy =
    stage === 'tls' && text.startsWith(CLOSED) ? 'a root proxy does that while it reaches no registry' : '';
  return new EnrolmentError(text, { stage, cause, remedy });
}

/** Node's and OpenSSL's texts in the words of whoever has to mend it. */
function textOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ECONNREFUSED':
      return 'connection refused';
    case 'ENOTFOUND':
      return 'no such host name';
    case 'EAI_AGAIN':
      return 'the host name cannot be resolved now; is DNS reachable?';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'no route to it';
    case 'ECONNRESET':
      return CLOSED;
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
      return 'its certificate leads to no root that is trusted here';
    case 'CERT_HAS_EXPIRED':
      return "its certificate has ended; is this machine's clock right?";
    case 'CERT_NOT_YET_VALID':
      return "its certificate is not valid yet; is this machine's clock right?";
    // Every port of ours that is not for enrolment speaks HTTP/2 only.
    case 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL':
      return "nobody enrols there: the port is another one's, or the domain (--domain) is; agents and users come to 7200, others to 7101";
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return 'it speaks no TLS; agents and users come to port 7200, others to 7101';
    default:
      return error instanceof Error ? withoutOpenssl(error.message) : String(error);
  }
}

/** `4091...:error:0A000438:SSL routines:ssl3_read_bytes:tlsv1 alert internal error:...:SSL alert number 80` says one thing. */
function withoutOpenssl(message: string): string {
  const reason = /\berror:[0-9A-F]{8}:[^:]*:[^:]*:([^:\n]+)/.exec(message)?.[1];
  return reason === undefined ? message : `TLS failed: ${reason}`;
}

/** The same failure with the address in front. */
function at({ host, port }: EnrolmentAddress, error: unknown): unknown {
  if (!(error instanceof EnrolmentError)) return error;
  const { stage, code, remedy, final, cause } = error;
  const where = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return new EnrolmentError(`${where}: ${error.message}`, { stage, code, remedy, final, cause });
}
