/**
 * One carried connection on loopback against a plain two-hop TCP relay, as JSON lines: `{ name, direction, rttMs, mbPerS }`.
 * Usage: node libs/carrier/bench/carried.ts [--mb 512] [--rtt 0] [--window 4194304]
 */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { makeWorld } from '../src/testing/world.ts';

const { values } = parseArgs({
  options: {
    mb: { type: 'string', default: '512' },
    rtt: { type: 'string', default: '0' },
    window: { type: 'string', default: '4194304' },
  },
});
const totalBytes = Number(values.mb) * 1_000_000;
const rttMs = Number(values.rtt);

async function measure(from: Socket, to: Socket): Promise<number> {
  const chunk = Buffer.alloc(65_536, 0x78);
  let received = 0;
  to.on('data', (bytes: Buffer) => {
    received += bytes.length;
  });
  const started = performance.now();
  for (let sent = 0; sent < totalBytes; sent += chunk.length) {
    if (!from.write(chunk)) await once(from, 'drain');
  }
  from.end();
  await once(to, 'end');
  return received / 1_000 / (performance.now() - started);
}

function report(name: string, direction: string, mbPerS: number): void {
  process.stdout.write(`${JSON.stringify({ name, direction, rttMs, mbPerS: Math.round(mbPerS) })}\n`);
}

async function carried(hops: 0 | 1): Promise<void> {
  const world = await makeWorld({ hops, rttMs, relayed: rttMs > 0, windowBytes: Number(values.window) });
  const name = hops === 0 ? 'carried' : 'carried-peer-hop';
  const up = await world.dial();
  report(name, 'up', await measure(up.user, up.node));
  const down = await world.dial();
  report(name, 'down', await measure(down.node, down.user));
  up.node.destroy();
  down.user.destroy();
  await world.close();
}

async function plainRelay(): Promise<void> {
  const accepted: ((socket: Socket) => void)[] = [];
  const sink = createServer({ allowHalfOpen: true }, (socket) => accepted.shift()?.(socket));
  const hop = (port: number) =>
    createServer({ allowHalfOpen: true }, (inner) => {
      const outer = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      inner.pipe(outer);
      outer.pipe(inner);
    });
  const listen = async (server: ReturnType<typeof createServer>): Promise<number> => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  };
  const second = hop(await listen(sink));
  const first = hop(await listen(second));
  const node = new Promise<Socket>((resolve) => accepted.push(resolve));
  const user = connect({ port: await listen(first), host: '127.0.0.1', allowHalfOpen: true });
  report('tcp-relay-two-hops', 'up', await measure(user, await node));
  (await node).destroy();
  user.destroy();
  for (const server of [sink, first, second]) server.close();
}

await plainRelay();
await carried(0);
await carried(1);
