import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { encodeDataFrame, RawFrameMethods } from '@xylem/wire';
import { createChannel, createServer, handleDuplex } from '../src/index.ts';
import type { GrpcChannel, TlsMaterial, TlsSource } from '../src/index.ts';
import { sourceOf } from '../src/testing/certificates.ts';
import { makeWorld, SERVER_NAME } from '../src/testing/pair.ts';
import { openSlowLink } from '../src/testing/slow-link.ts';

/**
 * One mTLS stream between two processes: bulk data each way in 64 KiB frames, and small messages there and back; on loopback
 * and with 20 ms of round-trip time added by a relay in a third process. Prints one JSON line per measurement.
 *
 *   node libs/grpc/bench/stream.ts [seconds per measurement, default 2] [stream window in KiB, default 4096]
 */

const PAYLOAD_BYTES = 65_536 - 16;
const SMALL_BYTES = 64;
const RTT_MS = 20;
const MIB = 1024 * 1024;
const METHOD = RawFrameMethods.carry;

interface Port {
  readonly port: number;
}

function isPort(message: unknown): message is Port {
  return typeof message === 'object' && message !== null && 'port' in message;
}

interface Stream {
  write(bytes: Buffer): boolean;
  once(event: 'drain' | 'close', listener: () => void): unknown;
}

/** Writes frames as fast as they are taken. Returns the way to stop. */
function pour(stream: Stream): () => void {
  const frame = encodeDataFrame(Buffer.alloc(PAYLOAD_BYTES));
  let open = true;
  const more = (): void => {
    while (open && stream.write(frame));
    if (open) stream.once('drain', more);
  };
  more();
  return () => {
    open = false;
  };
}

async function serve(streamWindowBytes: number, tls: TlsMaterial): Promise<void> {
  const carry = handleDuplex(METHOD, (call) => {
    const role = call.metadata.get('role')[0];
    if (role === 'down') call.once('cancelled', pour(call));
    if (role === 'echo') call.on('data', (bytes: Buffer) => call.write(bytes));
    else call.on('data', () => undefined);
  });
  const server = createServer({ tls: sourceOf(tls), services: [carry], streamWindowBytes });
  const port = await server.listen('127.0.0.1:0');
  process.send?.({ port });
}

async function link(port: number): Promise<void> {
  const { address } = await openSlowLink(port, RTT_MS / 2);
  process.send?.({ port: Number(address.split(':')[1]) });
}

async function child(...args: readonly string[]): Promise<{ readonly port: number; readonly process: ChildProcess }> {
  const started = fork(fileURLToPath(import.meta.url), args);
  const [message]: unknown[] = await once(started, 'message');
  if (!isPort(message)) throw new Error(`the process ${args.join(' ')} did not report its port`);
  return { port: message.port, process: started };
}

async function connect(port: number, streamWindowBytes: number, tls: TlsSource): Promise<GrpcChannel> {
  const channel = createChannel({ address: `127.0.0.1:${port}`, serverName: SERVER_NAME, tls, streamWindowBytes });
  await channel.connect();
  return channel;
}

interface Result {
  readonly perSecond: number;
  /** Processor time of the client's process for each of what is counted: comparable on a machine that is busy. */
  readonly cpuMicros: number;
}

/** What is counted per second, after a second for the connection to find its pace. */
async function rate(seconds: number, count: () => number): Promise<Result> {
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const before = count();
  const started = performance.now();
  const cpu = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  const { user, system } = process.cpuUsage(cpu);
  const counted = count() - before;
  return { perSecond: (counted * 1_000) / (performance.now() - started), cpuMicros: (user + system) / counted };
}

async function down(channel: GrpcChannel, seconds: number): Promise<Result> {
  const call = channel.duplex(METHOD, { role: 'down' });
  let bytes = 0;
  call.on('data', (frame: Buffer) => {
    bytes += frame.length;
  });
  const result = await rate(seconds, () => bytes / MIB);
  call.cancel();
  return result;
}

/** Counted where it is taken: what is under way is the same at both ends of the measurement. */
async function up(channel: GrpcChannel, seconds: number): Promise<Result> {
  const call = channel.duplex(METHOD, { role: 'up' });
  let bytes = 0;
  const stop = pour({
    write: (frame) => {
      bytes += frame.length;
      return call.write(frame);
    },
    once: (event, listener) => call.once(event, listener),
  });
  const result = await rate(seconds, () => bytes / MIB);
  stop();
  call.cancel();
  return result;
}

/** Small messages with 64 under way. */
async function small(channel: GrpcChannel, seconds: number): Promise<Result> {
  const call = channel.duplex(METHOD, { role: 'echo' });
  const frame = encodeDataFrame(Buffer.alloc(SMALL_BYTES));
  let answers = 0;
  call.on('data', () => {
    answers += 1;
    call.write(frame);
  });
  for (let sent = 0; sent < 64; sent += 1) call.write(frame);
  const result = await rate(seconds, () => answers);
  call.cancel();
  return result;
}

async function measure(seconds: number, windowKib: number): Promise<void> {
  const window = windowKib * 1024;
  const world = await makeWorld();
  const server = await child('serve', String(window), JSON.stringify(world.serverTls.current()));
  const slow = await child('link', String(server.port));
  for (const [rttMs, port] of [
    [0, server.port],
    [RTT_MS, slow.port],
  ] as const) {
    const channel = await connect(port, window, world.clientTls);
    const results = [
      { name: 'up', unit: 'MiB', result: await up(channel, seconds) },
      { name: 'down', unit: 'MiB', result: await down(channel, seconds) },
      { name: 'echo 64 B, 64 under way', unit: 'messages', result: await small(channel, seconds) },
    ];
    for (const { name, unit, result } of results) {
      const perSecond = Math.round(result.perSecond);
      const cpuMicros = Math.round(result.cpuMicros);
      console.log(JSON.stringify({ bench: 'grpc-stream', name, rttMs, windowKib, unit, perSecond, cpuMicros }));
    }
    channel.close();
  }
  server.process.kill();
  slow.process.kill();
}

function isMaterial(value: unknown): value is TlsMaterial {
  return typeof value === 'object' && value !== null && 'ca' in value && 'cert' in value && 'key' in value;
}

const [mode, argument, material] = process.argv.slice(2);
if (mode === 'serve') {
  // Test credentials, made a moment ago: real keys never travel in arguments.
  const tls: unknown = JSON.parse(material ?? '');
  if (isMaterial(tls)) await serve(Number(argument), tls);
} else if (mode === 'link') await link(Number(argument));
else await measure(Number(mode ?? 2), Number(argument ?? 4096));
