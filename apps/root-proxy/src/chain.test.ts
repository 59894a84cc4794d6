import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { claimedBy, connectThrough, eventually, World } from './testing/world.ts';

let world: World;

before(async () => {
  world = await World.create();
  await world.echoNode('web');
});
after(() => world.close());

test('carries a user through front door, tunnel and agent to the node and back', async () => {
  const proxy = await world.proxy('p1');
  await world.agent('berlin', 'a1');
  await eventually('p1 is claimed by a1', () => claimedBy(proxy, 'a1'));
  const { client, head } = await connectThrough(proxy.ports.frontDoor, 'web.berlin:80');
  assert.match(head, /^HTTP\/1\.1 200 /);
  assert.match(head, /\r\nXylem-Via: p1, a1\r\n/);
  client.say('hello');
  await client.hears('hello');
  client.socket.end();
  assert.ok((await client.closes()).endsWith('hello'));
});
