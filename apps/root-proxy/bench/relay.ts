/**
 * What a relayed tunnel costs: one connection downloads through a direct tunnel and through a relayed one. Registry, root
 * proxies, agent, node and user share one process, so the figures are the sum of every hop's work on one core: compare
 * them with each other, not with a network.
 *
 *   npm run bench -- relay [MiB]
 */
import { firstOnly } from '../src/testing/balancer.ts';
import { claimedBy, connectThrough, eventually, World } from '../src/testing/world.ts';

const MIB = 1_024 * 1_024;
const CHUNK = Buffer.alloc(64 * 1_024, 'x');

const mib = Number(process.argv[2] ?? 256);
const world = await World.create(firstOnly);
await world.node('source', (socket) => {
  let left = mib * MIB;
  const more = (): void => {
    while (left > 0) {
      left -= CHUNK.length;
      if (!socket.write(CHUNK)) return void socket.once('drain', more);
    }
    socket.end();
  };
  socket.resume();
  more();
});
await world.node('sink', (socket) => {
  socket.resume();
  socket.once('end', () => socket.end('done'));
});
const proxies = [await world.proxy('p1'), await world.proxy('p2')];
await world.agent('berlin', 'a1');
await eventually('both are claimed', () => proxies.every((proxy) => claimedBy(proxy, 'a1')));

for (const [index, proxy] of proxies.entries()) {
  const way = index === 0 ? 'direct' : 'relayed';
  for (const direction of ['down', 'up'] as const) {
    const startedAt = performance.now();
    const cpuBefore = process.cpuUsage();
    await (direction === 'down' ? download(proxy.ports.frontDoor) : upload(proxy.ports.frontDoor));
    const seconds = (performance.now() - startedAt) / 1_000;
    const { user, system } = process.cpuUsage(cpuBefore);
    const mibPerCpuSecond = Math.round((mib * 1_000_000) / (user + system));
    console.log(
      JSON.stringify({ bench: 'relay', way, direction, mib, mibPerSecond: Math.round(mib / seconds), mibPerCpuSecond }),
    );
  }
}
await world.close();

async function download(port: number): Promise<void> {
  const { client } = await connectThrough(port, 'source.berlin:80');
  const { socket } = client;
  socket.removeAllListeners('data');
  socket.resume();
  await new Promise((resolve) => socket.once('end', resolve));
  socket.destroy();
}

async function upload(port: number): Promise<void> {
  const { client } = await connectThrough(port, 'sink.berlin:80');
  const { socket } = client;
  for (let left = mib * MIB; left > 0; left -= CHUNK.length) {
    if (!socket.write(CHUNK)) await new Promise((resolve) => socket.once('drain', resolve));
  }
  socket.end();
  await client.hears('done', 60_000);
  socket.destroy();
}
