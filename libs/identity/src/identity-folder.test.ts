import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createAuthority } from './authority.ts';
import type { Authority } from './authority.ts';
import { requestFor } from './certificate-request.ts';
import { hasIdentity, installIdentity, nextKey, readIdentityFacts, readIdentityFolder } from './identity-folder.ts';
import type { StoredIdentity } from './identity-folder.ts';
import { fileTlsSource } from './tls-source.ts';

const DOMAIN = 'xylem.internal';
const VERSIONS = 20;

describe('identity folder', { timeout: 60_000 }, () => {
  const root = mkdtempSync(join(tmpdir(), 'xylem-folder-'));
  const versions: StoredIdentity[] = [];
  let authority: Authority;
  let serial = 0;
  const folder = (): string => join(root, `f${(serial += 1)}`);

  before(async () => {
    authority = await createAuthority({ domain: DOMAIN });
    for (let generation = 1; generation <= VERSIONS; generation += 1) versions.push(await version(generation));
  });
  after(() => rmSync(root, { recursive: true }));

  async function version(generation: number): Promise<StoredIdentity> {
    const issued = await authority.issue({ kind: 'proxy', proxy: 'p1' }, 3_600_000);
    return {
      material: { ca: issued.ca, cert: issued.cert, key: issued.key.reveal() },
      facts: {
        identity: 'proxy/p1',
        domain: DOMAIN,
        generation,
        issuedAtMs: 1,
        notAfterMs: issued.notAfterMs,
        trustGeneration: 1,
        enrol: [{ host: 'r1', port: 7101 }],
      },
    };
  }

  it('holds nothing at first, then the newest version and the one before it', () => {
    const directory = folder();
    assert.equal(hasIdentity(directory), false);
    assert.equal(readIdentityFacts(directory), undefined);
    assert.throws(() => readIdentityFolder(directory), /f1: holds no identity that joined by token/);
    for (const each of versions) installIdentity(directory, each);
    assert.deepEqual(readIdentityFolder(directory), versions.at(-1));
    assert.equal(readIdentityFacts(directory)?.generation, VERSIONS);
    assert.equal(readdirSync(directory).filter((name) => name.startsWith('v')).length, 2);
    assert.deepEqual(
      readdirSync(directory).filter((name) => name.includes('tmp')),
      [],
    );
  });

  it('never shows a reader in another process a mismatched pair, however fast the versions follow each other', async () => {
    const directory = folder();
    const [first] = versions;
    assert.ok(first !== undefined);
    installIdentity(directory, first);
    const reader = fork(new URL('./testing/folder-reader.ts', import.meta.url), [directory]);
    const [ready] = await once(reader, 'message');
    assert.equal(ready, 'reading');
    for (let round = 0; round < 10; round += 1) for (const each of versions) installIdentity(directory, each);
    reader.send('stop');
    const [report] = await once(reader, 'message');
    assert.deepEqual([report.problems, report.reads > 50, report.generations > 3], [[], true, true]);
  });

  it('shows PEM files to tools, switched at once', () => {
    const directory = folder();
    const [first, second] = versions;
    assert.ok(first !== undefined && second !== undefined);
    installIdentity(directory, first);
    const files = { ca: join(directory, 'ca.pem'), cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
    const source = fileTlsSource(files, { onProblem: (problem) => assert.fail(problem) });
    installIdentity(directory, second);
    source.reload();
    assert.deepEqual(source.current(), second.material);
    source.close();
  });

  it('keeps the key of a request until its answer is in force', async () => {
    const directory = folder();
    const [first, second] = versions;
    assert.ok(first !== undefined && second !== undefined);
    installIdentity(directory, first);
    const key = await nextKey(directory);
    assert.equal((await nextKey(directory)).reveal(), key.reveal());
    const { request } = await requestFor(key);
    const { cert, ca } = await authority.sign({ kind: 'proxy', proxy: 'p1' }, request, 3_600_000);
    installIdentity(directory, { ...second, material: { ca, cert, key: key.reveal() } });
    assert.notEqual((await nextKey(directory)).reveal(), key.reveal());
  });

  it('leaves the key of a request that another process has on its way', async () => {
    const directory = folder();
    const [first, second] = versions;
    assert.ok(first !== undefined && second !== undefined);
    installIdentity(directory, first);
    const key = await nextKey(directory);
    installIdentity(directory, second);
    assert.equal((await nextKey(directory)).reveal(), key.reveal());
  });

  it('makes a new key when a crash left the one in force behind as the next', async () => {
    const directory = folder();
    const [first] = versions;
    assert.ok(first !== undefined);
    installIdentity(directory, first);
    writeFileSync(join(directory, 'next-key.pem'), first.material.key, { mode: 0o600 });
    assert.notEqual((await nextKey(directory)).reveal(), first.material.key);
  });

  it('says which file is broken and what to do', async () => {
    const directory = folder();
    const [first] = versions;
    assert.ok(first !== undefined);
    installIdentity(directory, first);
    writeFileSync(join(directory, 'next-key.pem'), 'half a k', { mode: 0o600 });
    await assert.rejects(nextKey(directory), /next-key\.pem: is not a private key; remove it/);
    writeFileSync(join(directory, 'identity.json'), '{');
    assert.throws(() => readIdentityFolder(directory), /identity\.json: is not what a join leaves there; .*join again/);
  });
});
