import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { openCredentials } from './credentials.ts';
import type { CredentialNews, CredentialOptions, Credentials } from './credentials.ts';
import { joinByToken } from './enrolment.ts';
import { readIdentityFolder } from './identity-folder.ts';
import type { EnrolmentAddress } from './identity-folder.ts';
import type { Identity } from './identity.ts';
import { joinTokenText } from './join-token.ts';
import { DOMAIN, EnrolmentStandIn } from './testing/enrolment-stand-in.ts';

const AGENT: Identity = { kind: 'agent', leaf: 'berlin', agent: 'a1' };
const PATIENCE_MS = 10_000;

describe('credentials of a service', { timeout: 60_000 }, () => {
  const root = mkdtempSync(join(tmpdir(), 'xylem-credentials-'));
  const opened: Credentials[] = [];
  let registry: EnrolmentStandIn;
  let serial = 0;
  let news: CredentialNews[] = [];
  let heard: ((item: CredentialNews) => void) | undefined;

  const folder = (): string => join(root, `f${(serial += 1)}`);
  const open = async (
    directory: string,
    changed: Partial<CredentialOptions> & { readonly tokenFile?: string } = {},
  ): Promise<Credentials> => {
    const { tokenFile, ...rest } = changed;
    const credentials = await openCredentials({
      domain: DOMAIN,
      identity: AGENT,
      tls: undefined,
      folder: { directory, tokenFile, addresses: () => [registry.address], joinCommand: 'xylem agent join' },
      random: { next: () => 0.5 },
      onNews: (item) => {
        news.push(item);
        heard?.(item);
      },
      ...rest,
    });
    opened.push(credentials);
    return credentials;
  };
  const tokenFile = (text = joinTokenText(registry.token()).reveal()): string => {
    const path = join(root, `token${(serial += 1)}`);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const joined = async (): Promise<string> => {
    const directory = folder();
    const as = { role: 'agent', leaf: 'berlin', name: 'a1' } as const;
    await joinByToken({ directory, addresses: [registry.address], domain: DOMAIN, token: registry.token(), as });
    return directory;
  };
  /** Resolves with the next news of a kind. */
  const hear = (kind: CredentialNews['kind']): Promise<CredentialNews> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${kind}, but ${JSON.stringify(news)}`)), PATIENCE_MS);
      heard = (item) => {
        if (item.kind !== kind) return;
        clearTimeout(timer);
        resolve(item);
      };
    });

  before(async () => {
    registry = await EnrolmentStandIn.start();
  });
  afterEach(() => {
    for (const each of opened.splice(0)) each.close();
    registry.reply = undefined;
    registry.ttlMs = 3_600_000;
    registry.seen.length = 0;
    news = [];
    heard = undefined;
  });
  after(() => {
    registry.close();
    rmSync(root, { recursive: true });
  });

  it('join with the token at first start, and not again at the next', async () => {
    const directory = folder();
    await open(directory, { tokenFile: tokenFile() });
    await open(directory, { tokenFile: join(root, 'token is gone') });
    assert.deepEqual(
      registry.seen.map(({ path }) => path),
      ['/v1/join'],
    );
    assert.deepEqual(
      news.map(({ kind }) => kind),
      ['joined'],
    );
  });

  it('go on trying while no registry answers, and stop when one refuses', async () => {
    const answers = [503, 503];
    registry.reply = (granted) => {
      const status = answers.shift();
      if (status === undefined) return { status: 200, json: granted };
      return { status, json: { code: 'unavailable', error: 'the store does not answer', remedy: '' } };
    };
    await open(folder(), { tokenFile: tokenFile() });
    assert.deepEqual(
      news.map(({ kind }) => kind),
      ['join-failed', 'join-failed', 'joined'],
    );
    registry.reply = () => ({ status: 401, json: { code: 'token-refused', error: 'unknown token', remedy: 'ask' } });
    await assert.rejects(open(folder(), { tokenFile: tokenFile() }), {
      message: /^identity\.dir: .* holds no identity, and joining was refused: unknown token; ask$/,
    });
  });

  it('say what to type when nobody has joined', async () => {
    await assert.rejects(open(folder()), {
      message:
        /^identity\.dir: .* holds no identity; make a token at a registry \(xylem tokens add --leaf berlin\) and run: xylem agent join$/,
    });
    const missing = { tokenFile: join(root, 'nowhere') };
    await assert.rejects(open(folder(), missing), /tokenFile .*nowhere does not exist; make a token/);
    await assert.rejects(open(folder(), { tokenFile: tokenFile('hunter2') }), (error: Error) => {
      assert.match(error.message, /holds no join token; they begin with xylem-join\.$/);
      return !error.message.includes('hunter2');
    });
  });

  it('refuse a folder of somebody else', async () => {
    const other: Identity = { kind: 'agent', leaf: 'berlin', agent: 'a2' };
    await assert.rejects(open(await joined(), { identity: other }), {
      message: /holds the certificate of agent berlin\/a1, the configuration says agent berlin\/a2; correct the names/,
    });
  });

  it('renew at half life by themselves, and hand the new certificate to whoever uses them', async () => {
    registry.ttlMs = 3_000;
    const credentials = await open(await joined());
    const first = credentials.current().cert;
    const changed = new Promise<string>((resolve) => credentials.onChange(({ cert }) => resolve(cert)));
    await hear('renewed');
    assert.notEqual(await changed, first);
    assert.equal(credentials.renewal()?.generation, 2);
    assert.equal(credentials.renewal()?.status.state, 'fresh');
  });

  it('renew at once when they hear of another trust, but not for what they know', async () => {
    const credentials = await open(await joined(), { schedule: { adviceSpreadMs: 1, adviceRestMs: 1 } });
    credentials.trustChanged(1);
    assert.ok((credentials.renewal()?.status.nextAttemptMs ?? 0) > 60_000);
    credentials.trustChanged(2);
    await hear('renewed');
  });

  it('raise an alarm when renewal fails until two thirds of the life, take it back, and end when nothing helps', async () => {
    registry.ttlMs = 4_000;
    const directory = await joined();
    registry.reply = () => ({ status: 503, json: { code: 'unavailable', error: 'no store', remedy: '' } });
    await open(directory);
    const alarm = await hear('alarm-raised');
    assert.ok(alarm.kind === 'alarm-raised' && alarm.detail === 'no store');
    registry.reply = undefined;
    await hear('alarm-cleared');
    registry.reply = () => ({ status: 403, json: { code: 'locked', error: 'copied key', remedy: 'xylem unlock' } });
    const refused = await hear('renewal-refused');
    assert.ok(refused.kind === 'renewal-refused' && refused.detail === 'copied key; xylem unlock');
    await hear('expired');
  });

  it('take up what somebody else put into the folder', async () => {
    const directory = await joined();
    const credentials = await open(directory);
    const replaced = hear('replaced');
    const as = { role: 'agent', leaf: 'berlin', name: 'a1' } as const;
    await joinByToken({ directory, addresses: [registry.address], domain: DOMAIN, token: registry.token(), as });
    await replaced;
    assert.deepEqual(credentials.current(), readIdentityFolder(directory).material);
  });

  it('stay who they are when somebody else joins with their folder, whoever looks at it first', async () => {
    const directory = await joined();
    const other = await open(directory, { schedule: { adviceSpreadMs: 1, adviceRestMs: 1 } });
    const broken = hear('folder-broken');
    const as = { role: 'agent', leaf: 'berlin', name: 'a2' } as const;
    await joinByToken({ directory, addresses: [registry.address], domain: DOMAIN, token: registry.token(), as });
    other.trustChanged(99);
    await broken;
    await hear('renewal-failed');
    assert.deepEqual(
      registry.seen.filter(({ path, client }) => path === '/v1/renew' && client.endsWith('/a2')),
      [],
    );
    assert.notEqual(other.current().cert, readIdentityFolder(directory).material.cert);
  });

  it('ask again, and elsewhere, when one registry refuses their certificate', async () => {
    const stale = await EnrolmentStandIn.start({ authority: registry.authority });
    stale.reply = () => ({ status: 401, json: { code: 'certificate-refused', error: 'not valid here', remedy: '' } });
    registry.ttlMs = 3_000;
    const directory = await joined();
    const addresses = (): readonly EnrolmentAddress[] => [stale.address, registry.address];
    await open(directory, { folder: { directory, tokenFile: undefined, addresses, joinCommand: '' } });
    await hear('renewed');
    assert.ok(stale.seen.length > 0);
    stale.close();
  });
});
