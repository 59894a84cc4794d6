import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import type { MethodDefinition } from '@grpc/grpc-js';
import { createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import type { Identity } from '@xylem/identity';
import { AccessService, AdminService, ChannelService, PeerService, RegistryService, TunnelService } from '@xylem/wire';
import { DOMAIN } from './testing/credentials.ts';
import { claimedBy, connectThrough, eventually, World } from './testing/world.ts';
import type { WorldProxy } from './testing/world.ts';

/**
 * Authenticated peers that send rubbish to every method of every port. Nothing of it may reach a person as an internal error, and a
 * connection that another leaf cluster carries meanwhile must not notice.
 */

const ROUNDS = 40;
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
    services: [RegistryService, AdminService, ChannelService],
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

async function send(channel: GrpcChannel, method: MethodDefinition<Buffer, Buffer>): Promise<void> {
  for (let round = 0; round < ROUNDS; round += 1) {
    if (!method.requestStream) {
      await channel.unary(method, rubbish(round), ANSWER_MS).catch(() => undefined);
      continue;
    }
    const stream = channel.stream(method);
    for (let message = 0; message < 3; message += 1) stream.send(rubbish(round + message));
    stream.end();
    const late = setTimeout(() => stream.cancel('no end in time'), ANSWER_MS);
    await stream.closed;
    clearTimeout(late);
  }
}

for (const door of DOORS) {
  test(`A7: rubbish on every method of the ${door.name} changes nothing`, async () => {
    const { client } = await connectThrough(p1.ports.frontDoor, 'web.berlin:80');
    const channel = await channelTo(door);
    for (const method of door.services.flatMap(rawMethods)) await send(channel, method);
    channel.close();
    client.say('still here');
    assert.match(await client.hears('still here', ANSWER_MS), /still here/);
    client.socket.destroy();
    assert.deepEqual(
      p1.log.filter(({ event }) => event === 'internal.error'),
      [],
    );
    assert.ok(claimedBy(p1, 'a1'));
  });
}
