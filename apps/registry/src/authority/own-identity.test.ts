import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { firstTrust } from '@xylem/authority';
import { openRootFolder } from '@xylem/identity';
import { folder } from '../testing/world.ts';
import { Keyring } from './keyring.ts';
import { OwnIdentity } from './own-identity.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

test('what a registry gave itself while its clock was ahead is replaced when the clock is right again', async (t) => {
  const directory = await folder(t);
  const root = await (await openRootFolder(join(directory, 'roots'), { domain: 'xylem.internal' })).create();
  const options = { directory, domain: 'xylem.internal', trust: firstTrust(root), askHolder: undefined };
  const keyring = await Keyring.open(options);
  let off = 0;
  const own = await OwnIdentity.open({
    domain: 'xylem.internal',
    registry: 'r1',
    adminDirectory: join(directory, 'admin'),
    keyring,
    certificateTtlMs: HOUR_MS,
    userTtlMs: 12 * HOUR_MS,
    now: () => Date.now() + off,
  });
  await own.start(1);
  const first = own.tls.current().cert;
  await own.tend(false);
  assert.equal(own.tls.current().cert, first, 'it is fresh');
  off = DAY_MS;
  await own.tend(false);
  const ahead = own.tls.current().cert;
  assert.notEqual(ahead, first, 'by that clock it is over');
  off = -DAY_MS;
  await own.tend(false);
  assert.notEqual(own.tls.current().cert, ahead, 'by that clock it is not valid yet');
  assert.equal(await keyring.tend(Date.now()), false);
  assert.equal(await keyring.tend(Date.now() - DAY_MS), true, 'nor is the intermediate');
});
