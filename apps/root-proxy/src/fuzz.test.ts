import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import type { MethodDefinition } from '@grpc/grpc-js';
import { createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import type { Identity } from '@xylem/identity';
import { HOSTILE_MESSAGES, mutated, retainedHeapBytes } from '@xylem/testkit';
import type { HostileMessage } from '@xylem/testkit';
import {
  AccessService,
  AdminService,
  ChannelService,
  PeerService,
  RegistryService,
  TunnelService,
  tunnel,
} from '@xylem/wire';
import { DOMAIN } from './testing/credentials.ts';
import { RawClient } from './testing/raw-client.ts';
import { claimedBy, connectThrough, eventually, World } from './testing/world.ts';
import type { WorldProxy } from './testing/world.ts';

/**
 * Authenticated peers that send rubbish to every method of every port. Nothing of it may reach a person as an internal error, and a
 * connection that another leaf cluster carries meanwhile must not notice.
 */

const ROUNDS = 20;
const HEADS = 150;
/** What is still held after all of it. */
const MAX_HEAP_GROWTH = 16 * 2 ** 20;
const MAX_RUBBISH = 4_096;
const ANSWER_MS = 5_000;

let world: World;
let p1: WorldProxy;

before(async () => {
  world = await World.create();
  await world.echoNode('web');
  p1 = await world.proxy('p1');
  await world.agent('berlin', 'a1');
  await eventually('claimed', () => claimedBy(p1, 'a1'));
});
after(() => world.close());

type Service = Readonly<
  Record<string, Pick<MethodDefinition<never, never>, 'path' | 'requestStream' | 'responseStream'>>
>;

const asBytes = (bytes: Buffer): Buffer => bytes;

function rawMethods(service: Service): MethodDefinition<Buffer, Buffer>[] {
  return Object.values(service).map(({ path, requestStream, responseStream }) => ({
    path,
    requestStream,
    responseStream,
    requestSerialize: asBytes,
    requestDeserialize: asBytes,
    responseSerialize: asBytes,
    responseDeserialize: asBytes,
  }));
}

interface Door {
  readonly name: string;
  readonly port: () => number;
  readonly identity: Identity;
  readonly serverName: string;
  readonly services: readonly Service[];
}

const mallory = { kind: 'agent', leaf: 'mallory', agent: 'm1' } as const;
const DOORS: readonly Door[] = [
  {
    name: 'tunnel port',
    port: () => p1.ports.tunnel,
    identity: mallory,
    serverName: DOMAIN,
    services: [TunnelService, ChannelService],
  },
  {
    name: 'peer port',
    port: () => p1.ports.peer,
    identity: { kind: 'proxy', proxy: 'p9' },
    serverName: `p1.${DOMAIN}`,
    services: [PeerService, ChannelService],
  },
  {
    name: 'access port',
    port: () => p1.ports.access,
    identity: { kind: 'user', user: 'mallory' },
    serverName: DOMAIN,
    services: [AccessService, ChannelService],
  },
  {
    name: 'registry',
    port: () => world.registryPort,
    identity: { kind: 'proxy', proxy: 'p9' },
    serverName: `registry.${DOMAIN}`,
    services: [RegistryService, ChannelService],
  },
  {
    name: 'registry, by an administrator',
    port: () => world.registryPort,
    identity: { kind: 'user', user: 'admin@r1' },
    serverName: `registry.${DOMAIN}`,
    services: [AdminService],
  },
];

async function channelTo({ port, identity, serverName }: Door): Promise<GrpcChannel> {
  const tls = await world.credentials.source(identity);
  return createChannel({ address: `127.0.0.1:${port()}`, tls, serverName, reconnect: true });
}

/** Random bytes, or the beginning of a message that is almost right. */
function rubbish(round: number): Buffer {
  const bytes = randomBytes(1 + ((round * 97) % MAX_RUBBISH));
  // Field 1, length-delimited: most first messages are there.
  if (round % 2 === 0) Buffer.from([0x0a, Math.min(127, bytes.length - 2)]).copy(bytes);
  return bytes;
}

/** One call, with what is sent on it; ends when the answer is there or the stream is over. */
async function call(
  channel: GrpcChannel,
  method: MethodDefinition<Buffer, Buffer>,
  ...messages: readonly Buffer[]
): Promise<void> {
  if (!method.requestStream) {
    for (const message of messages) await channel.unary(method, message, ANSWER_MS).catch(() => undefined);
    return;
  }
  const stream = channel.stream(method);
  for (const message of messages) stream.send(message);
  stream.end();
  const late = setTimeout(() => stream.cancel('no end in time'), ANSWER_MS);
  await stream.closed;
  clearTimeout(late);
}

async function send(channel: GrpcChannel, method: MethodDefinition<Buffer, Buffer>): Promise<void> {
  await Promise.all(HOSTILE_MESSAGES.map(({ bytes }) => call(channel, method, bytes)));
  const rounds = Array.from({ length: ROUNDS }, (_none, round) => round);
  await Promise.all(
    rounds.map((round) => call(channel, method, rubbish(round), rubbish(round + 1), rubbish(round + 2))),
  );
}

function unharmed(): void {
  assert.deepEqual(
    p1.log.filter(({ event }) => event === 'internal.error'),
    [],
  );
  assert.ok(claimedBy(p1, 'a1'));
}

for (const door of DOORS) {
  test(`A7: rubbish on every method of the ${door.name} changes nothing`, async (t) => {
    const { client } = await connectThrough(p1.ports.frontDoor, 'web.berlin:80');
    const channel = await channelTo(door);
    const heapBytes = retainedHeapBytes();
    for (const method of door.services.flatMap(rawMethods)) await send(channel, method);
    channel.close();
    client.say('still here');
    assert.match(await client.hears('still here', ANSWER_MS), /still here/);
    client.socket.destroy();
    unharmed();
    const growth = retainedHeapBytes() - heapBytes;
    t.diagnostic(`${(growth / 2 ** 20).toFixed(1)} MiB more are held`);
    assert.ok(growth < MAX_HEAP_GROWTH, `${growth} bytes`);
  });
}

const HELLO: tunnel.AgentHello = {
  minVersion: 1,
  maxVersion: 1,
  leaf: 'mallory',
  agent: 'm1',
  instanceNonce: 'fuzz',
  tunnelId: 't1',
  replacesTunnelId: '',
  wantedProxy: '',
  nodes: [],
  software: 'fuzz',
  traceparent: '',
};

test('A7: rubbish behind an honest hello, and hellos that are nearly right, end as their own tunnel only', async () => {
  const [door] = DOORS;
  const [attach] = rawMethods({ attach: TunnelService.attach });
  assert.ok(door !== undefined && attach !== undefined);
  const hello = (tunnelId: string): Buffer =>
    Buffer.from(tunnel.AttachRequest.encode({ kind: { $case: 'hello', value: { ...HELLO, tunnelId } } }).finish());
  const attack = async ({ bytes }: HostileMessage, index: number): Promise<void> => {
    const channel = await channelTo(door);
    await call(channel, attach, hello(`t${index}`), bytes, mutated(bytes));
    await call(channel, attach, mutated(hello('t')));
    channel.close();
  };
  await Promise.all(HOSTILE_MESSAGES.map(attack));
  unharmed();
});

test('A7: heads at the front door that are nearly right, and bytes at random, open nothing', async () => {
  const head = Buffer.from('CONNECT web.nowhere:80 HTTP/1.1\r\nHost: web.nowhere:80\r\nX-A: b\r\n\r\n');
  for (let round = 0; round < HEADS; round += 1) {
    const client = await RawClient.connect(p1.ports.frontDoor);
    client.socket.end(round % 3 === 0 ? randomBytes(round) : mutated(head));
    assert.doesNotMatch(await client.closes(), /^HTTP\/1\.1 200/);
  }
  unharmed();
});
