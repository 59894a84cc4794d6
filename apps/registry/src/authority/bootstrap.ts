import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { TRUST_KEY, activeRoot, decodeTrust, encodeRecord, firstTrust, unchanged } from '@xylem/authority';
import type { NewRoot, TrustRecord } from '@xylem/authority';
import { makePrivateDirectory, openRootFolder } from '@xylem/identity';
import type { RootFolder } from '@xylem/identity';
import { OperatingError } from '@xylem/service';
import type { AuthorityStore } from './store.ts';

/** Whether a folder holds what a replica got when it joined. */
export function hasJoined(directory: string): boolean {
  return existsSync(join(directory, 'identity'));
}

/**
 * The trust of the domain: what the store says, or, in a store without any, a new root of this replica's. Of any number of replicas that start
 * at once one makes the root; the others reject with an OperatingError that says how to join, as does every replica that
 * comes later. Rejects with a StoreDownError while the store does not answer.
 */
export async function settleTrust(store: AuthorityStore, directory: string, domain: string): Promise<TrustRecord> {
  makePrivateDirectory(directory);
  const roots = await openRootFolder(join(directory, 'roots'), { domain });
  const read = await store.read(TRUST_KEY, decodeTrust);
  if (read.record !== undefined) return membersOnly(read.record, roots, directory);
  const { root, isNew } = await ownRoot(roots, directory);
  const trust = firstTrust(root);
  const put = { type: 'put' as const, key: TRUST_KEY, value: encodeRecord(trust), lease: 0n };
  if (await store.commit({ compares: [unchanged(read)], steps: [put] })) return trust;
  if (isNew) roots.remove(root.fingerprint);
  const won = await store.read(TRUST_KEY, decodeTrust);
  if (won.record === undefined) throw new OperatingError('the trust of the domain appears and vanishes in the store');
  return membersOnly(won.record, roots, directory);
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

function membersOnly(trust: TrustRecord, roots: RootFolder, directory: string): TrustRecord {
  if (trust.roots.some(({ fingerprint }) => roots.holds(fingerprint)) || hasJoined(directory)) return trust;
  const shown = activeRoot(trust).fingerprint.slice(0, 8);
  throw new OperatingError(
    `this domain has a certificate authority already (root ${shown}), made by another registry; join it: ` +
      `xylem registry join --token-file - --root <address>:7101 --dir ${directory}`,
  );
}
