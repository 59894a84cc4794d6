/**
 * One leaf cluster's users who take all they can get of a root proxy, as a process of their own: what the others feel of it must not
 * be this program's share of a test's event loop.
 *
 *   node noise.ts --front-door 127.0.0.1:7280 --tunnel 127.0.0.1:7200 --node echo.mallory:7 --kinds bytes,dials
 *
 * Runs until its standard input ends; prints a line with `"event":"noise.ended"` and what it did.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { parseArgs } from 'node:util';
import { openConnect } from '../../src/check/connect.ts';
import { onLifelineCut } from '../../src/processes/lifeline.ts';
import { NOISE_KINDS } from './noise-kinds.ts';
import type { NoiseKind } from './noise-kinds.ts';

const PUMPS = 8;
const STREAMS = 400;
const DIALLERS = 16;
/** Offered in bursts of 50, of which the root proxy begins 50 a second. */
const HANDSHAKES = { burst: 50, everyMs: 250 } as const;
const RETRY_MS = 20;

const { values } = parseArgs({
  options: {
    'front-door': { type: 'string', default: '' },
    tunnel: { type: 'string', default: '' },
    node: { type: 'string', default: '' },
    kinds: { type: 'string', default: NOISE_KINDS.join(',') },
  },
});
const { 'front-door': frontDoor, tunnel, node } = values;
const done: Record<string, number> = { bytes: 0, streams: 0, asked: 0, dials: 0, refused: 0, hellos: 0, handshakes: 0 };
let over = false;

function count(what: string, amount = 1): void {
  done[what] = (done[what] ?? 0) + amount;
}

const MAKE: Readonly<Record<NoiseKind, () => readonly Promise<void>[]>> = {
  bytes: () => Array.from({ length: PUMPS }, pump),
  streams: () => Array.from({ length: STREAMS }, trickle),
  dials: () => Array.from({ length: DIALLERS }, dialOn),
  handshakes: () => [shakeHands()],
};

/** Writes and reads as fast as it goes. */
async function pump(): Promise<void> {
  const socket = await opened();
  const chunk = Buffer.alloc(65_536);
  const push = (): void => {
    while (!over && socket.writable && socket.write(chunk));
  };
  socket.on('drain', push).on('data', (bytes: Buffer) => count('bytes', bytes.length));
  push();
  await once(socket, 'close');
}

/** One more open connection, with a byte now and then. */
async function trickle(): Promise<void> {
  const socket = await opened();
  count('streams');
  socket.resume();
  const timer = setInterval(() => socket.write('.'), 1_000);
  await once(socket, 'close');
  clearInterval(timer);
}

async function dialOn(): Promise<void> {
  while (!over) {
    count('asked');
    try {
      const socket = await openConnect(frontDoor, node);
      socket.destroy();
      count('dials');
    } catch {
      count('refused');
    }
  }
}

async function shakeHands(): Promise<void> {
  const [host = '', port = ''] = tunnel.split(':');
  while (!over) {
    for (let index = 0; index < HANDSHAKES.burst; index += 1) {
      count('hellos');
      const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false });
      socket.on('error', () => undefined).on('secureConnect', () => count('handshakes'));
      socket.setTimeout(10_000, () => socket.destroy()).resume();
    }
    await pause(HANDSHAKES.everyMs);
  }
}

/** As long as it takes: others of these take places, too. */
async function opened(): Promise<Socket> {
  for (;;) {
    const socket = await openConnect(frontDoor, node).catch(() => undefined);
    if (socket !== undefined) return socket.on('error', () => undefined);
    await pause(RETRY_MS);
  }
}

const kinds = NOISE_KINDS.filter((kind) => values.kinds.split(',').includes(kind));
onLifelineCut(() => {
  over = true;
  process.stdout.write(`${JSON.stringify({ event: 'noise.ended', ...done })}\n`, () => process.exit(0));
});
for (const kind of kinds) for (const made of MAKE[kind]()) made.catch(() => undefined);
process.stdout.write('{"event":"service.ready"}\n');
