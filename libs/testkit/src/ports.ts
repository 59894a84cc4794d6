import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import type { Server } from 'node:net';

const LOOPBACK = '127.0.0.1';
/**
 * Below the ports that the kernel gives to outgoing connections and to listeners on port 0 (from 32,768 on Linux, 49,152
 * elsewhere): nobody takes one of these by chance between choosing and binding it.
 */
const FIRST = 20_000;
const BLOCKS = 240;
/** A process takes ports by the block, and owns a block while it listens on the block's first port. */
const BLOCK_PORTS = 50;
const ATTEMPTS = 10 * BLOCKS;

/** First port of our newest block, and how many of its ports are gone; none is left of the one that never was. */
let block = Promise.resolve(0);
let taken = BLOCK_PORTS;

/**
 * TCP ports of 127.0.0.1 that nobody listens on, and that no other process gets from here while this one lives. Each is given
 * out once, so that no two servers are sent to the same one before either is up.
 */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = await nextPort();
    const server = await listenOn(port);
    if (server === undefined) continue;
    await new Promise((resolve) => server.close(resolve));
    ports.push(port);
  }
  return ports;
}

/** One of `freePorts`, as host:port. */
export async function freeAddress(): Promise<string> {
  const [port] = await freePorts(1);
  return `${LOOPBACK}:${port}`;
}

async function nextPort(): Promise<number> {
  if (taken === BLOCK_PORTS) {
    block = claimBlock();
    taken = 1;
  }
  const offset = taken;
  taken += 1;
  return (await block) + offset;
}

/** Keeps listening on the first port of a block, which ends with this process at the latest. */
async function claimBlock(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const first = FIRST + BLOCK_PORTS * randomInt(BLOCKS);
    const server = await listenOn(first);
    if (server === undefined) continue;
    server.on('connection', (socket) => socket.destroy()).unref();
    return first;
  }
  throw new Error(`no ${BLOCK_PORTS} ports in a row from ${FIRST} on are free: end what listens there`);
}

function listenOn(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: LOOPBACK, exclusive: true }, () => resolve(server));
  });
}
