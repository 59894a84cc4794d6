import { createHash, randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { certificateFingerprint, keyFingerprint } from './certificate-key.ts';
import { publicKeyOf, requestFor } from './certificate-request.ts';
import type { KeyWithRequest } from './certificate-request.ts';
import { connectVerified, fetchPinnedRoot, fetchShownRoot } from './enrolment-connection.ts';
import { EnrolmentError } from './enrolment-error.ts';
import { ANSWERS, exchange } from './enrolment-exchange.ts';
import type { LoginAnswer, WaysIn } from './enrolment-exchange.ts';
import { checkedGrant, inTurn, keepGranted } from './enrolment.ts';
import { nextKey, prepareIdentityFolder } from './identity-folder.ts';
import type { EnrolmentAddress, StoredIdentity } from './identity-folder.ts';
import { writeKeyFile } from './key-file.ts';
import { derOfPem } from './pem.ts';
import type { Secret } from './secret.ts';

/** File of an identity folder with the access token, 0600. */
export const ACCESS_TOKEN_FILE = 'access-token';

/** How somebody says who they are. */
export type LoginProof =
  | { readonly kind: 'password'; readonly user: string; readonly password: Secret<string> }
  /** Fetches an ID token that bears the nonce. */
  | { readonly kind: 'idToken'; readonly fetch: (nonce: string) => Promise<Secret<string>> };

export interface LoginOptions {
  /** Made when missing. */
  readonly directory: string;
  /** Load balancers in front of root proxies, or registries; tried in turn. */
  readonly addresses: readonly EnrolmentAddress[];
  readonly domain: string;
  /** PEM of the roots that are trusted; see `trustByPin`. */
  readonly trust: string;
  readonly proof: LoginProof;
}

/** A login that worked. */
export interface StoredLogin extends StoredIdentity {
  readonly user: string;
  /** Milliseconds since 1970. */
  readonly accessTokenNotAfterMs: number;
}

const PIN = /^sha256:([0-9a-f]{64})$/;

/** The pin of a root certificate as people are told it: `sha256:` and the fingerprint in hex. */
export function userPinOf(rootPem: string): string {
  const [der] = derOfPem(rootPem);
  return der === undefined ? '' : `sha256:${certificateFingerprint(der)}`;
}

/** Whether a text has the form of such a pin. */
export function isUserPin(text: string): boolean {
  return PIN.test(text);
}

/**
 * PEM of the root that is shown at one of the addresses and has this pin. Rejects with an EnrolmentError when another one is.
 *
 * @param pin `sha256:<hex>`.
 */
export function trustByPin(addresses: readonly EnrolmentAddress[], domain: string, pin: string): Promise<string> {
  const [, hex = ''] = PIN.exec(pin) ?? [];
  const pins = [Buffer.from(hex, 'hex').toString('base64url')];
  return inTurn(addresses, (address) => fetchPinnedRoot(address, domain, pins, 'person'));
}

/** PEM of the root that is shown, whoever shows it: for a person to compare its pin before it is trusted. */
export function shownRoot(addresses: readonly EnrolmentAddress[], domain: string): Promise<string> {
  return inTurn(addresses, (address) => fetchShownRoot(address, domain));
}

/** How users may log in there. Rejects with an EnrolmentError. */
export function waysToLogIn(addresses: readonly EnrolmentAddress[], domain: string, trust: string): Promise<WaysIn> {
  return inTurn(addresses, async (address) => {
    const socket = await connectVerified(address, domain, { ca: trust });
    return exchange(socket, '/v1/login', `enrol.${domain}`, undefined, ANSWERS.waysIn);
  });
}

/**
 * Logs in with a new key and keeps certificate and access token in the folder. Rejects with an EnrolmentError, or a
 * KeyFileError when the folder cannot be used; what it held stays then.
 */
export async function logIn(options: LoginOptions): Promise<StoredLogin> {
  const { directory, addresses, domain, trust } = options;
  prepareIdentityFolder(directory);
  const made = await requestFor(await nextKey(directory));
  const { path, body } = await bodyOf(options.proof, made);
  const answer = await inTurn(addresses, async (address) => {
    const socket = await connectVerified(address, domain, { ca: trust });
    return exchange(socket, path, `enrol.${domain}`, body, ANSWERS.loggedIn);
  });
  return keep(options, answer, made);
}

/** Forgets certificate, key and access token. False when there was no login. */
export function logOut(directory: string): boolean {
  const files = ['current', 'ca.pem', 'cert.pem', 'key.pem', 'identity.json', 'next-key.pem', ACCESS_TOKEN_FILE];
  const found = files.filter((name) => existsSync(join(directory, name)));
  for (const name of found) rmSync(join(directory, name), { force: true });
  return found.length > 0;
}

/**
 * The nonce of an ID token that is good for one key only: an ID token that was seen somewhere is of no use to anybody who has
 * not the key that the login is for.
 *
 * @param key SHA-256 of the key's SubjectPublicKeyInfo, lower-case hex.
 * @param salt 43 characters of base64url, random.
 */
export function loginNonce(key: string, salt: string): string {
  return createHash('sha256').update(`xylem-login ${key} ${salt}`).digest('base64url');
}

async function bodyOf(
  proof: LoginProof,
  made: KeyWithRequest,
): Promise<{ readonly path: string; readonly body: object }> {
  const { request } = made;
  if (proof.kind === 'password') {
    return { path: '/v1/login', body: { user: proof.user, password: proof.password.reveal(), request } };
  }
  const spki = publicKeyOf(made.key).export({ type: 'spki', format: 'der' });
  const salt = randomBytes(32).toString('base64url');
  const idToken = await proof.fetch(loginNonce(keyFingerprint(spki), salt));
  return { path: '/v1/login/oidc', body: { idToken: idToken.reveal(), salt, request } };
}

function keep(
  { directory, addresses, domain, proof }: LoginOptions,
  answer: LoginAnswer,
  made: KeyWithRequest,
): StoredLogin {
  const identity = checkedGrant(answer, made, domain);
  const isAsked = identity.kind === 'user' && (proof.kind === 'idToken' || identity.user === proof.user);
  if (!isAsked) throw new EnrolmentError(`the registry gave a certificate for ${answer.identity}`, { stage: 'http' });
  const stored = keepGranted(directory, addresses, answer, made);
  writeKeyFile(join(directory, ACCESS_TOKEN_FILE), `${answer.accessToken}\n`);
  return { ...stored, user: identity.user, accessTokenNotAfterMs: answer.accessTokenNotAfterMs };
}
