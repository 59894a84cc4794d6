import { beginRenewal, installIdentity, nextKey, prepareIdentityFolder } from './identity-folder.ts';
import type { EnrolmentAddress, IdentityFacts, StoredIdentity } from './identity-folder.ts';
import { publicKeyOf, requestFor } from './certificate-request.ts';
import type { KeyWithRequest } from './certificate-request.ts';
import { verifyChainInFull } from './chain.ts';
import { connectVerified, fetchPinnedRoot } from './enrolment-connection.ts';
import type { TlsTrust } from './enrolment-connection.ts';
import { EnrolmentError } from './enrolment-error.ts';
import { ANSWERS, exchange } from './enrolment-exchange.ts';
import type { Granted } from './enrolment-exchange.ts';
import { identityUri } from './identity.ts';
import type { Identity } from './identity.ts';
import { KeyFileError } from './key-file.ts';
import type { TlsMaterial } from './tls-material.ts';
import type { JoinToken } from './join-token.ts';
import { derOfPem } from './pem.ts';

/** Who somebody wants to be. The leaf cluster of an agent is the token's where it is not given. */
export type JoinAs =
  | { readonly role: 'agent'; readonly leaf?: string; readonly name: string }
  | { readonly role: 'proxy' | 'registry'; readonly name: string };

export interface JoinOptions {
  /** Made when missing. What it holds of an earlier join is replaced when the new one succeeds. */
  readonly directory: string;
  /** Tried in turn. */
  readonly addresses: readonly EnrolmentAddress[];
  readonly domain: string;
  readonly token: JoinToken;
  readonly as: JoinAs;
}

/**
 * Exchanges a join token for an identity and keeps it in the folder. May be repeated after a failure: the key stays the same, so that an
 * answer that was lost is given again. Rejects with an EnrolmentError, or a KeyFileError when the folder cannot be used.
 */
export async function joinByToken(options: JoinOptions): Promise<StoredIdentity> {
  const { directory, addresses, domain, token, as } = options;
  prepareIdentityFolder(directory);
  const made = await requestFor(await nextKey(directory));
  const body = { secret: token.secret.reveal(), ...as, request: made.request };
  const granted = await inTurn(addresses, async (address) => {
    const ca = await fetchPinnedRoot(address, domain, token.pins);
    return ask(address, domain, { ca }, '/v1/join', body);
  });
  const identity = checkedGrant(granted, made, domain);
  if (!isWhatWasAsked(identity, as)) throw unusable(`the certificate is for ${granted.identity}`);
  return keepGranted(directory, addresses, granted, made);
}

/**
 * Renews the identity in a folder with a new key. Safe to repeat after any failure that is not final, by another process, too. Rejects
 * as `joinByToken`; a final error means that the identity ends with its present certificate.
 *
 * @param expected Whose it has to be; a KeyFileError otherwise. Default: whoever joined with the folder.
 */
export async function renewIdentity(
  directory: string,
  addresses: readonly EnrolmentAddress[],
  expected?: Pick<IdentityFacts, 'identity' | 'domain'>,
): Promise<StoredIdentity> {
  const { stored, key } = await beginRenewal(directory);
  const { facts, material } = stored;
  assertSame(directory, facts, expected ?? facts);
  const made = await requestFor(key);
  const trust = { ca: material.ca, client: { cert: material.cert, key: material.key } };
  const body = { generation: facts.generation, request: made.request };
  const granted = await inTurn(addresses, (address) => ask(address, facts.domain, trust, '/v1/renew', body));
  checkedGrant(granted, made, facts.domain);
  if (granted.identity !== facts.identity) throw unusable(`the certificate is for ${granted.identity}`);
  return keepGranted(directory, facts.enrol, granted, made);
}

/** Throws a KeyFileError when the folder holds another identity than before: whoever runs as that one goes on as it. */
export function assertSame(
  directory: string,
  found: Pick<IdentityFacts, 'identity' | 'domain'>,
  expected: Pick<IdentityFacts, 'identity' | 'domain'>,
): void {
  if (found.identity === expected.identity && found.domain === expected.domain) return;
  throw new KeyFileError(
    directory,
    `now holds ${found.identity}, this process is ${expected.identity}; restart it, or put that back`,
  );
}

/** Who asks for an intermediate: a registry that joined, with its trust and certificate. */
export interface IntermediateAsk {
  /** Of registries that hold the root; tried in turn. */
  readonly addresses: readonly EnrolmentAddress[];
  readonly domain: string;
  readonly material: TlsMaterial;
}

/**
 * An intermediate for the key of a PKCS #10 request: PEM. Rejects with an EnrolmentError. What comes back is checked by whoever keeps it,
 * see `renewIntermediate`.
 */
export async function askForIntermediate(
  { addresses, domain, material }: IntermediateAsk,
  request: string,
): Promise<string> {
  const trust = { ca: material.ca, client: { cert: material.cert, key: material.key } };
  const signed = await inTurn(addresses, async (address) => {
    const socket = await connectVerified(address, domain, trust);
    return exchange(socket, '/v1/intermediate', `enrol.${domain}`, { request }, ANSWERS.signed);
  });
  return signed.intermediate;
}

/**
 * Whether a registry answers at an address with a certificate that leads to a root in `ca` (PEM); nothing is asked of it.
 * Rejects with an EnrolmentError that says how far it came.
 */
export async function probeEnrolment(address: EnrolmentAddress, domain: string, ca: string): Promise<void> {
  (await connectVerified(address, domain, { ca })).destroy();
}

/** The first answer counts; where there is none, or one that may be another elsewhere, the next address is tried. */
export async function inTurn<T>(
  addresses: readonly EnrolmentAddress[],
  attempt: (address: EnrolmentAddress) => Promise<T>,
): Promise<T> {
  let failure: unknown = new EnrolmentError('no address to enrol at', { stage: 'resolve' });
  for (const address of addresses) {
    try {
      return await attempt(address);
    } catch (error) {
      if (!(error instanceof EnrolmentError) || error.final) throw error;
      failure = error;
    }
  }
  throw failure;
}

async function ask(
  address: EnrolmentAddress,
  domain: string,
  trust: TlsTrust,
  path: string,
  body: object,
): Promise<Granted> {
  const socket = await connectVerified(address, domain, trust);
  return exchange(socket, path, `enrol.${domain}`, body, ANSWERS.granted);
}

/** A registry that gives out what cannot work is noticed before anything is replaced by it. */
export function checkedGrant(granted: Granted, made: KeyWithRequest, domain: string): Identity {
  if (granted.domain !== domain) throw unusable(`it is of the domain ${JSON.stringify(granted.domain)}`);
  const chain = derOfPem(granted.certificate);
  const verified = verifyChainInFull(chain, granted.trust, Date.now(), { domain, eku: 'client' });
  if (verified.kind === 'problem') throw unusable(verified.detail);
  if (!verified.publicKey.equals(publicKeyOf(made.key))) throw unusable('the certificate is for another key');
  if (identityUri(verified.identity, domain) !== `spiffe://${domain}/${granted.identity}`) {
    throw unusable('certificate and answer name different identities');
  }
  return verified.identity;
}

function isWhatWasAsked(identity: Identity, as: JoinAs): boolean {
  switch (identity.kind) {
    case 'agent':
      return as.role === 'agent' && identity.agent === as.name && identity.leaf === (as.leaf ?? identity.leaf);
    case 'proxy':
      return as.role === 'proxy' && identity.proxy === as.name;
    case 'registry':
      return as.role === 'registry' && identity.registry === as.name;
    case 'user':
      return false;
  }
}

function unusable(why: string): EnrolmentError {
  return new EnrolmentError(`the registry's answer cannot be used: ${why}`, { stage: 'http' });
}

/** Puts what was granted in force in the folder. */
export function keepGranted(
  directory: string,
  enrol: readonly EnrolmentAddress[],
  granted: Granted,
  made: KeyWithRequest,
): StoredIdentity {
  const { identity, domain, generation, issuedAtMs, notAfterMs, trustGeneration, certificate, trust } = granted;
  const stored: StoredIdentity = {
    facts: { identity, domain, generation, issuedAtMs, notAfterMs, trustGeneration, enrol: [...enrol] },
    material: { ca: trust, cert: certificate, key: made.key.reveal() },
  };
  installIdentity(directory, stored);
  return stored;
}
