import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, describe, it } from 'node:test';
import { readSecret } from './secret-file.ts';

describe('reading a secret', () => {
  const directory = mkdtempSync(join(tmpdir(), 'xylem-secret-'));
  const path = join(directory, 'token');
  after(() => rmSync(directory, { recursive: true }));

  it('takes a private file or standard input, without the line end', async () => {
    writeFileSync(path, 'hunter2\n', { mode: 0o600 });
    assert.equal((await readSecret(path, 'join token')).reveal(), 'hunter2');
    const input = Readable.from([Buffer.from('hun'), Buffer.from('ter2\r\n')]);
    assert.equal((await readSecret('-', 'join token', input)).reveal(), 'hunter2');
  });

  it('refuses a file that others can read, with the remedy and without the content', async () => {
    writeFileSync(path, 'hunter2\n');
    chmodSync(path, 0o640);
    await assert.rejects(readSecret(path, 'join token'), (error: Error) => {
      assert.match(error.message, /token: join token is accessible to other users \(mode 0640\)\. Run: chmod 600/);
      return !error.message.includes('hunter2');
    });
  });

  it('refuses what is missing, empty or too long', async () => {
    await assert.rejects(readSecret(join(directory, 'none'), 'password'), /none: cannot be read: no such file/);
    await assert.rejects(readSecret('-', 'password', Readable.from(['\n'])), /standard input: is empty; a password/);
    const endless = Readable.from(Array.from({ length: 100 }, () => Buffer.alloc(1_000, 'x')));
    await assert.rejects(readSecret('-', 'password', endless), /standard input: is too long for a password/);
  });
});
