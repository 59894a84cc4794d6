import { randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readlinkSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { makePrivateKey, publicKeyOf } from './certificate-request.ts';
import { KeyFileError, makePrivateDirectory, readCertificateFile, readKeyFile } from './key-file.ts';
import { createKeyFile, syncDirectory, writeCertificateFile, writeKeyFile } from './key-file.ts';
import { Secret } from './secret.ts';
import { readStable, verifiedMaterial } from './tls-material.ts';
import type { TlsMaterial } from './tls-material.ts';

/**
 * The folder of an identity that joined by token:
 *
 *     ca.pem cert.pem key.pem identity.json    links into `current`, for every tool that takes PEM files
 *     current                                  link to the version in force; renaming it is the one step of a renewal
 *     v<generation>-<random>/                  the four files of one version, never changed once `current` leads there
 *     next-key.pem                             the key of a request that is on its way, so that it can be repeated
 *
 * A reader that follows `current` once sees one whole version, and a crash at any point leaves the old one or the new one.
 */
const CURRENT = 'current';
const NEXT_KEY = 'next-key.pem';
const FACTS = 'identity.json';
const FILES = ['ca.pem', 'cert.pem', 'key.pem', FACTS] as const;
const VERSION = /^v(\d{1,16})-[0-9a-f]{8}$/;
const VERSIONS_KEPT = 2;
const CRASH_AGE_MS = 60_000;
const START_ATTEMPTS = 5;

const address = z.strictObject({ host: z.string().min(1), port: z.int().min(1).max(65_535) });

const facts = z.object({
  identity: z.string(),
  domain: z.string(),
  generation: z.int().nonnegative(),
  issuedAtMs: z.int(),
  notAfterMs: z.int(),
  trustGeneration: z.int().nonnegative(),
  enrol: z.array(address).min(1),
});

/** Where enrolment is served: a registry, or the load balancer in front of root proxies that relay to one. */
export type EnrolmentAddress = z.output<typeof address>;

/** What is known of an identity beside its certificate; none of it is secret. */
export type IdentityFacts = Readonly<z.output<typeof facts>>;

/** One version of an identity, as kept in its folder. */
export interface StoredIdentity {
  readonly facts: IdentityFacts;
  readonly material: TlsMaterial;
}

/** Whether somebody has joined with this folder. */
export function hasIdentity(directory: string): boolean {
  return isLink(join(directory, CURRENT));
}

/**
 * Reads the version in force. Throws a KeyFileError when there is none, or when it is unusable; the message names the
 * file and the remedy.
 */
export function readIdentityFolder(directory: string): StoredIdentity {
  if (!hasIdentity(directory)) {
    throw new KeyFileError(directory, 'holds no identity that joined by token');
  }
  const current = (): string => readlinkSync(join(directory, CURRENT));
  return readStable(current, () => readVersion(join(directory, current())));
}

function readVersion(version: string): StoredIdentity {
  const files = { ca: join(version, 'ca.pem'), cert: join(version, 'cert.pem'), key: join(version, 'key.pem') };
  const ca = readCertificateFile(files.ca);
  const cert = readCertificateFile(files.cert);
  const { material } = verifiedMaterial({ ca, cert, key: readKeyFile(files.key) }, files);
  return { material, facts: readFacts(join(version, FACTS)) };
}

/** What is known of the identity in force, without its key; undefined when nobody joined with this folder. */
export function readIdentityFacts(directory: string): IdentityFacts | undefined {
  if (!hasIdentity(directory)) return undefined;
  const current = (): string => readlinkSync(join(directory, CURRENT));
  return readStable(current, () => readFacts(join(directory, current(), FACTS)));
}

function readFacts(path: string): IdentityFacts {
  try {
    return facts.parse(JSON.parse(readCertificateFile(path)));
  } catch (error) {
    if (error instanceof KeyFileError) throw error;
    throw new KeyFileError(path, 'is not what a join leaves there; remove the folder and join again', { cause: error });
  }
}

/** Makes the folder. Throws a KeyFileError when it holds files of another origin, which a join would hide. */
export function prepareIdentityFolder(directory: string): void {
  makePrivateDirectory(directory);
  const foreign = FILES.find((name) => existsSync(join(directory, name)) && !isLink(join(directory, name)));
  if (foreign === undefined) return;
  const remedy = 'choose another folder, or move these files away';
  throw new KeyFileError(join(directory, foreign), `was put there by hand and would be replaced; ${remedy}`);
}

/** Puts a new version in force: all of it or, after a crash, nothing of it. */
export function installIdentity(directory: string, { facts: known, material }: StoredIdentity): void {
  prepareIdentityFolder(directory);
  const name = `v${known.generation}-${randomBytes(4).toString('hex')}`;
  const version = join(directory, name);
  makePrivateDirectory(version);
  writeKeyFile(join(version, 'key.pem'), material.key);
  writeCertificateFile(join(version, 'cert.pem'), material.cert);
  writeCertificateFile(join(version, 'ca.pem'), material.ca);
  writeCertificateFile(join(version, FACTS), `${JSON.stringify(known, null, 2)}\n`);
  syncDirectory(version);
  link(directory, name, CURRENT);
  for (const file of FILES) if (!isLink(join(directory, file))) link(directory, join(CURRENT, file), file);
  syncDirectory(directory);
  forgetNextKey(directory, material.key);
  forgetOldVersions(directory, name);
  forgetCrashes(directory);
}

/** What a renewal begins with. */
export interface RenewalStart {
  readonly stored: StoredIdentity;
  readonly key: Secret<string>;
}

/**
 * What a renewal is asked for with: the version in force, and the key for the one after it. Another process that renews with the same
 * folder at the same time gets the same, so that neither is taken for a thief. Rejects with a KeyFileError.
 */
export async function beginRenewal(directory: string): Promise<RenewalStart> {
  for (let attempt = 1; ; attempt += 1) {
    const stored = readIdentityFolder(directory);
    const key = await nextKey(directory);
    // Otherwise the key may be one for the version after the next.
    const isInForce = readIdentityFolder(directory).material.cert === stored.material.cert;
    if (isInForce || attempt === START_ATTEMPTS) return { stored, key };
  }
}

/**
 * The key for the next request: the one that is on its way when there is such, otherwise a new one, on disk before this
 * returns. A request whose answer was lost can so be repeated with the same key, by the next process, too.
 */
export async function nextKey(directory: string): Promise<Secret<string>> {
  const path = join(directory, NEXT_KEY);
  for (let attempt = 1; attempt <= START_ATTEMPTS; attempt += 1) {
    const kept = readIfThere(path);
    if (kept !== undefined && !isCurrentKey(directory, kept, path)) return kept;
    if (kept !== undefined) forgetNextKey(directory, kept.reveal());
    const made = await makePrivateKey();
    if (createKeyFile(path, made.reveal())) return made;
  }
  throw new KeyFileError(path, 'keeps changing; does another process use this folder?');
}

function readIfThere(path: string): Secret<string> | undefined {
  try {
    return new Secret(readKeyFile(path));
  } catch (error) {
    // Not whether it is there now: another process may have put one there since.
    if (error instanceof KeyFileError && isMissing(error.cause)) return undefined;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** Only that key: another one is that of somebody's request. */
function forgetNextKey(directory: string, key: string): void {
  const path = join(directory, NEXT_KEY);
  if (readIfThere(path)?.reveal() === key) rmSync(path, { force: true });
}

/** After a crash between the last two steps of an installation the key in force is still there as the next. */
function isCurrentKey(directory: string, key: Secret<string>, path: string): boolean {
  let next: KeyObject;
  try {
    next = publicKeyOf(key);
  } catch {
    throw new KeyFileError(path, 'is not a private key; remove it');
  }
  if (!hasIdentity(directory)) return false;
  return next.equals(publicKeyOf(new Secret(readKeyFile(join(directory, CURRENT, 'key.pem')))));
}

function link(directory: string, target: string, name: string): void {
  const path = join(directory, name);
  const temporary = `${path}.${randomBytes(8).toString('hex')}.tmp`;
  try {
    symlinkSync(target, temporary);
    renameSync(temporary, path);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new KeyFileError(path, `cannot be made: ${detail}`, { cause: error });
  }
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

/** What a process that was killed was writing; younger ones may be somebody's who is at it. */
function forgetCrashes(directory: string): void {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    const stat = name.endsWith('.tmp') ? lstatSync(path, { throwIfNoEntry: false }) : undefined;
    if (stat !== undefined && Date.now() - stat.mtimeMs > CRASH_AGE_MS) rmSync(path, { force: true });
  }
}

/**
 * The version before stays for whoever is reading it, and so do young ones of this and the last generation: another process that
 * renews with the same folder may just be putting one in force.
 */
function forgetOldVersions(directory: string, current: string): void {
  const generation = generationOf(current);
  const others = readdirSync(directory).filter((name) => VERSION.test(name) && name !== current);
  const madeAt = (name: string): number => statSync(join(directory, name), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const newestFirst = others.map((name) => ({ name, at: madeAt(name) })).toSorted((a, b) => b.at - a.at);
  for (const { name, at } of newestFirst.slice(VERSIONS_KEPT - 1)) {
    const isYoung = Date.now() - at < CRASH_AGE_MS;
    if (isYoung && generationOf(name) >= generation - 1) continue;
    rmSync(join(directory, name), { recursive: true, force: true });
  }
}

function generationOf(version: string): number {
  return Number(VERSION.exec(version)?.[1] ?? 0);
}
