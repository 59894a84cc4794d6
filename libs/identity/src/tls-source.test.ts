import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { createAuthority } from './authority.ts';
import type { Authority } from './authority.ts';
import type { IssuedCertificate } from './issuer.ts';
import { writeCertificateFile, writeKeyFile } from './key-file.ts';
import { fileTlsSource, isSignedByOwn, memoryTlsSource } from './tls-source.ts';
import type { TlsMaterial } from './tls-material.ts';

const IDENTITY = { kind: 'proxy', proxy: 'p1' } as const;
const TTL_MS = 3_600_000;
const NEVER_MS = 1_000_000;

describe('tls source', () => {
  let authority: Authority;
  let first: IssuedCertificate;
  let second: IssuedCertificate;
  const directory = mkdtempSync(join(tmpdir(), 'xylem-tls-'));
  const files = { ca: join(directory, 'ca.pem'), cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
  before(async () => {
    authority = await createAuthority({ domain: 'xylem.internal' });
    first = await authority.issue(IDENTITY, TTL_MS);
    second = await authority.issue(IDENTITY, 2 * TTL_MS);
  });
  beforeEach(() => {
    writeCertificateFile(files.ca, first.ca);
    writeCertificateFile(files.cert, first.cert);
    writeKeyFile(files.key, first.key.reveal());
  });
  after(() => rmSync(directory, { recursive: true }));

  it('switches to renewed files by itself', async () => {
    const source = fileTlsSource(files);
    const { promise, resolve } = Promise.withResolvers<TlsMaterial>();
    source.onChange(resolve);
    writeKeyFile(files.key, second.key.reveal());
    writeCertificateFile(files.cert, second.cert);
    // A watch does not keep the process alive; the test's own wait does.
    const alive = setTimeout(() => assert.fail('no reload within 5 s'), 5_000);
    assert.equal((await promise).cert, second.cert);
    clearTimeout(alive);
    assert.equal(source.current().key, second.key.reveal());
    assert.equal(source.notAfterMs(), second.notAfterMs);
    source.close();
  });

  it('keeps the old pair while certificate and key do not belong together, and reports it once', () => {
    const problems: string[] = [];
    const source = fileTlsSource(files, {
      pollIntervalMs: NEVER_MS,
      onProblem: (problem) => problems.push(problem.message),
    });
    writeKeyFile(files.key, second.key.reveal());
    assert.equal(source.reload(), false);
    assert.equal(source.reload(), false);
    assert.equal(source.current().cert, first.cert);
    assert.equal(source.current().key, first.key.reveal());
    assert.deepEqual(problems, [`${files.key}: does not belong to the certificate in ${files.cert}`]);
    writeCertificateFile(files.cert, second.cert);
    assert.equal(source.reload(), true);
    assert.equal(source.current().cert, second.cert);
    source.close();
  });

  it('keeps the old pair when a file is broken or gone', () => {
    const problems: string[] = [];
    const source = fileTlsSource(files, {
      pollIntervalMs: NEVER_MS,
      onProblem: (problem) => problems.push(problem.message),
    });
    writeCertificateFile(files.cert, 'half a certif');
    source.reload();
    rmSync(files.ca);
    source.reload();
    assert.equal(source.current().cert, first.cert);
    assert.match(
      problems.join('\n'),
      /cert\.pem: is not a certificate in PEM\n.*ca\.pem: cannot be read: no such file/,
    );
    source.close();
  });

  it('fails at the start with a message that names the file and the remedy', () => {
    chmodSync(files.key, 0o644);
    assert.throws(
      () => fileTlsSource(files),
      /key\.pem: private key is accessible to other users \(mode 0644\)\. Run: chmod 600/,
    );
    writeKeyFile(files.key, 'not a key');
    assert.throws(() => fileTlsSource(files), /key\.pem: is not an unencrypted private key in PEM/);
    rmSync(files.key);
    assert.throws(() => fileTlsSource(files), /key\.pem: cannot be read: no such file or directory/);
  });

  it('knows whether the own certificate is of an authority that is trusted', async () => {
    const stranger = (await createAuthority({ domain: 'xylem.internal' })).ca;
    assert.equal(isSignedByOwn({ ca: first.ca, cert: first.cert }), true);
    assert.equal(isSignedByOwn({ ca: `${stranger}\n${first.ca}`, cert: first.cert }), true);
    assert.equal(isSignedByOwn({ ca: stranger, cert: first.cert }), false);
  });

  it('does not call a listener that has stopped listening', () => {
    const source = memoryTlsSource({ ca: first.ca, cert: first.cert, key: first.key.reveal() });
    const seen: string[] = [];
    const stop = source.onChange((material) => seen.push(material.cert));
    source.replace({ ca: second.ca, cert: second.cert, key: second.key.reveal() });
    stop();
    source.replace({ ca: first.ca, cert: first.cert, key: first.key.reveal() });
    assert.deepEqual(seen, [second.cert]);
    assert.throws(
      () => source.replace({ ca: first.ca, cert: first.cert, key: second.key.reveal() }),
      /does not belong/,
    );
  });
});
