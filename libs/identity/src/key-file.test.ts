import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { KeyFileError, assertPrivateDirectory, createKeyFile, makePrivateDirectory, writeKeyFile } from './key-file.ts';
import { withDiskThatDies } from './testing/dying-disk.ts';

const STRANGER = 12_345;

describe('key files', () => {
  const root = mkdtempSync(join(tmpdir(), 'xylem-keys-'));
  let serial = 0;
  const folder = (): string => {
    const path = join(root, `f${(serial += 1)}`);
    mkdirSync(path, { mode: 0o700 });
    return path;
  };
  after(() => rmSync(root, { recursive: true }));

  it('are for this user only, and a link that somebody put there is replaced, not followed', () => {
    const directory = folder();
    const elsewhere = join(folder(), 'target');
    const path = join(directory, 'key.pem');
    symlinkSync(elsewhere, path);
    writeKeyFile(path, 'one');
    assert.equal(readFileSync(path, 'utf8'), 'one');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.throws(() => statSync(elsewhere));
  });

  it('are the old one or the new one wherever the disk dies, and leave nothing of a failure', async () => {
    const directory = folder();
    const path = join(directory, 'key.pem');
    writeKeyFile(path, 'old');
    const seen = new Set<string>();
    for (let changes = 0; await withDiskThatDies(changes, () => writeKeyFile(path, 'new')); changes += 1) {
      seen.add(readFileSync(path, 'utf8'));
      writeKeyFile(path, 'old');
    }
    assert.deepEqual(seen, new Set(['old', 'new']));
    const other = folder();
    mkdirSync(join(other, 'key.pem'));
    assert.throws(() => writeKeyFile(join(other, 'key.pem'), 'x'), KeyFileError);
    assert.deepEqual(readdirSync(other), ['key.pem']);
  });

  it('are created once, by whoever comes first', () => {
    const directory = folder();
    const path = join(directory, 'next.pem');
    assert.deepEqual([createKeyFile(path, 'one'), createKeyFile(path, 'two')], [true, false]);
    assert.equal(readFileSync(path, 'utf8'), 'one');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(directory), ['next.pem']);
  });

  it('lie in no directory that others may enter', () => {
    const directory = folder();
    chmodSync(directory, 0o750);
    assert.throws(() => assertPrivateDirectory(directory), /accessible to other users \(mode 0750\)\. Run: chmod 700/);
    makePrivateDirectory(directory);
    assertPrivateDirectory(directory);
  });

  const isRoot = process.getuid?.() === 0;
  it('lie in no directory of another user, who could replace them', { skip: !isRoot }, () => {
    const directory = folder();
    chownSync(directory, STRANGER, STRANGER);
    const expected = /belongs to another user \(uid 12345\)\. Run this as that user, or: chown 0 /;
    assert.throws(() => assertPrivateDirectory(directory), expected);
    assert.throws(() => makePrivateDirectory(directory), expected);
  });
});
