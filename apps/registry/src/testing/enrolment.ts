import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import { joinByToken, parseJoinToken, readIdentityFolder } from '@xylem/identity';
import type { EnrolmentAddress, JoinAs, JoinToken, StoredIdentity } from '@xylem/identity';
import { memoryTlsSource } from '@xylem/identity';
import type { TokenWish } from '../authority/tokens.ts';
import { folder } from './world.ts';
import type { TestRegistry } from './world.ts';

export const DOMAIN = 'xylem.internal';

export async function makeToken(registry: TestRegistry, wish: Partial<TokenWish> = {}): Promise<JoinToken> {
  assert.ok(registry.authority !== undefined);
  const all = { role: 'agent', leaf: 'berlin', name: '', ttlSeconds: 0, sources: [] } as const;
  const made = await registry.authority.tokens.add({ ...all, ...wish }, 'user/admin@r1');
  const token = parseJoinToken(made.text.reveal());
  assert.ok(token !== undefined);
  return token;
}

export function addressesOf(registry: TestRegistry): readonly [EnrolmentAddress] {
  return [{ host: '127.0.0.1', port: registry.enrolPort }];
}

export interface Enrolled {
  readonly directory: string;
  readonly stored: StoredIdentity;
}

export async function enrol(
  t: TestContext,
  registry: TestRegistry,
  token: JoinToken,
  as: JoinAs = { role: 'agent', name: 'a1' },
): Promise<Enrolled> {
  const directory = join(await folder(t), 'identity');
  const stored = await joinByToken({ directory, addresses: addressesOf(registry), domain: DOMAIN, token, as });
  return { directory, stored };
}

/** A connection with the administrator's credentials that a registry keeps in its data directory; closed after the test. */
export function adminChannel(t: TestContext, registry: TestRegistry, dataDir: string): GrpcChannel {
  const { material } = readIdentityFolder(join(dataDir, 'admin'));
  const channel = createChannel({
    address: `127.0.0.1:${registry.port}`,
    tls: memoryTlsSource(material),
    serverName: `registry.${DOMAIN}`,
  });
  t.after(() => channel.close());
  return channel;
}
