import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TRUST_KEY, activeRoot, decodeTrust, encodeRecord, firstTrust, unchanged } from '@xylem/authority';
import type { NewRoot, TrustRecord } from '@xylem/authority';
import { assertPrivateDirectory, makePrivateDirectory, openRootFolder } from '@xylem/identity';
import type { RootFolder } from '@xylem/identity';
import { OperatingError } from '@xylem/service';
import type { Remembered } from './remembered.ts';
import { StoreDownError } from './store.ts';
import type { AuthorityStore } from './store.ts';

export interface BootstrapOptions {
  /** `authority.dir` */
  readonly directory: string;
  readonly domain: string;
  /** This replica is to join the authority of another. */
  readonly joins: boolean;
}

/** How long the first start waits for a store that says who the authority is. */
const STORE_WAIT_MS = 60_000;
const STORE_RETRY_MS = 500;

/**
 * As `settleTrust`, once the store answers and holds no older trust than is remembered here. Rejects with an OperatingError when it does
 * not answer for a minute.
 *
 * @param onAwaited Told once, when the store does not answer at first.
 */
export async function awaitTrust(
  store: AuthorityStore,
  remembered: Remembered,
  options: BootstrapOptions,
  onAwaited: (detail: string) => void,
): Promise<TrustRecord> {
  const deadline = performance.now() + STORE_WAIT_MS;
  for (let told = false; ; told = true) {
    try {
      await remembered.restoreTrust();
      return await settleTrust(store, options);
    } catch (error) {
      if (!(error instanceof StoreDownError)) throw error;
      if (performance.now() > deadline) {
        const remedy = 'start the store or correct store.endpoints';
        throw new OperatingError(`${error.message}; without it nobody knows who the authority is; ${remedy}`);
      }
      if (!told) onAwaited(error.message);
    }
    await sleep(STORE_RETRY_MS);
  }
}

/**
 * The trust of the domain: what the store says, or, in a store without any, a new root of this replica's. Of any number of replicas that start
 * at once one makes the root; the others reject with an OperatingError that says how to join, as does every replica that
 * comes later. Rejects with a StoreDownError while the store does not answer.
 */
async function settleTrust(store: AuthorityStore, options: BootstrapOptions): Promise<TrustRecord> {
  const { directory, domain, joins } = options;
  const roots = await openRootFolder(join(directory, 'roots'), { domain });
  const read = await store.read(TRUST_KEY, decodeTrust);
  if (read.record !== undefined) return membersOnly(read.record, roots, options);
  if (joins) {
    const remedy = 'start the first registry without identity.dir: it makes the authority';
    throw new OperatingError(`the store knows no certificate authority to join; ${remedy}`);
  }
  const { root, isNew } = await ownRoot(roots, directory);
  const trust = firstTrust(root);
  const put = { type: 'put' as const, key: TRUST_KEY, value: encodeRecord(trust), lease: 0n };
  if (await store.commit({ compares: [unchanged(read)], steps: [put] })) return trust;
  if (isNew) roots.remove(root.fingerprint);
  const won = await store.read(TRUST_KEY, decodeTrust);
  if (won.record === undefined) throw new OperatingError('the trust of the domain appears and vanishes in the store');
  return membersOnly(won.record, roots, options);
}

/** An empty folder, such as a fresh volume, is made private; what lies open already is not trusted any more: KeyFileError. */
export function preparePrivate(directory: string): void {
  if (existsSync(directory) && readdirSync(directory).length > 0) assertPrivateDirectory(directory);
  else makePrivateDirectory(directory);
}

/** A root from before the store was emptied is used again: everybody trusts it already. */
async function ownRoot(
  roots: RootFolder,
  directory: string,
): Promise<{ readonly root: NewRoot; readonly isNew: boolean }> {
  const [held, ...others] = roots.list();
  if (others.length > 0) {
    const remedy = 'leave the one that is to be trusted and move the others away';
    throw new OperatingError(`${join(directory, 'roots')} holds several roots, and the store names none; ${remedy}`);
  }
  return held === undefined ? { root: await roots.create(), isNew: true } : { root: held, isNew: false };
}

function membersOnly(trust: TrustRecord, roots: RootFolder, { directory, joins }: BootstrapOptions): TrustRecord {
  if (joins || trust.roots.some(({ fingerprint }) => roots.holds(fingerprint))) return trust;
  const shown = activeRoot(trust).fingerprint.slice(0, 8);
  throw new OperatingError(
    `this domain has a certificate authority already (root ${shown}), whose key is not in ${directory}. ` +
      'A further registry joins it: make a token there (xylem tokens add --role registry), and set identity.dir, ' +
      'identity.tokenFile and identity.enrol here',
  );
}
