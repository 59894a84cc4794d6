import { credentials, Metadata, Server, ServerCredentials, Client } from '@grpc/grpc-js';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { ConnectionEnd, SpliceEnd } from '@xylem/tunnel';
import { RawFrameMethods } from '@xylem/wire';
import type { Http2Session } from 'node:http2';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import type { Server as NetServer } from 'node:net';
import { carry } from '../carry.ts';
import type { Carried } from '../carry.ts';
import { FramePort } from '../frame-port.ts';
import type { OpenLane } from '../pace.ts';
import { splice } from '../splice.ts';

/** Test double of the whole way: user socket, root proxy, optional second hop, leaf agent, node; all on loopback. */
export interface World {
  /** A user connection to the node. Resolves when the way is open. */
  dial(): Promise<Dialled>;
  /** Every call the server has seen. */
  readonly serverCalls: readonly ServerDuplexStream<Buffer, Buffer>[];
  /** Breaks the TCP connection under the agent's streams. */
  cutTunnel(): void;
  close(): Promise<void>;
}

export interface Dialled {
  readonly user: Socket;
  /** The node's end of the connection. */
  readonly node: Socket;
  readonly atProxy: Carried;
  readonly atAgent: Carried;
  /** Present with hops. */
  readonly hop: Promise<SpliceEnd> | undefined;
  readonly ends: Promise<readonly ConnectionEnd[]>;
}

export interface WorldOptions {
  /** 1: the user's proxy reaches the agent through a second root proxy. Default 0. */
  readonly hops?: 0 | 1;
  /** Changes what the agent sends. */
  readonly tamper?: (bytes: Buffer) => Buffer | undefined;
  /** HTTP/2 stream windows on both sides. Default 1 MiB. */
  readonly windowBytes?: number;
  /** Puts a TCP relay between agent and root proxy, which `cutTunnel` and `rttMs` need. Default false. */
  readonly relayed?: boolean;
  /** Round-trip time added between agent and root proxy. Default 0. */
  readonly rttMs?: number;
  /** The lane of everything that a root proxy reads. Default: none. */
  readonly lane?: OpenLane;
}

const carryPath = RawFrameMethods.carry.path;
const forwardPath = RawFrameMethods.forward.path;

export async function makeWorld(options: WorldOptions = {}): Promise<World> {
  const windowBytes = options.windowBytes ?? 1_048_576;
  const { lane } = options;
  const sockets = new Set<Socket>();
  const nodes = new Queue<Socket>();
  const node = await listen((socket) => nodes.push(keep(sockets, socket)));
  const users = new Queue<Socket>();
  const front = await listen((socket) => users.push(keep(sockets, socket)));
  const carries = new Map<string, Queue<FramePort>>();
  const serverCalls: ServerDuplexStream<Buffer, Buffer>[] = [];
  const forwards = new Queue<FramePort>();
  const server = new Server({ 'grpc.max_receive_message_length': 131_072 });
  widenWindows(server, windowBytes);
  server.addService(
    { carry: RawFrameMethods.carry, forward: RawFrameMethods.forward },
    {
      carry: (call: ServerDuplexStream<Buffer, Buffer>) => {
        serverCalls.push(call);
        const id = String(call.metadata.get('xylem-connection')[0]);
        carries.get(id)?.push(new FramePort(call));
      },
      forward: (call: ServerDuplexStream<Buffer, Buffer>) => forwards.push(new FramePort(call)),
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  widenSessions(server);
  const wires: Socket[] = [];
  const wire = await listen((inner) => {
    const outer = connect({ port, host: '127.0.0.1' });
    outer.on('error', () => {});
    relay(inner, outer, (options.rttMs ?? 0) / 2);
    relay(outer, inner, (options.rttMs ?? 0) / 2);
    wires.push(inner, outer);
  });
  const channel = (to: number) =>
    new Client(`127.0.0.1:${to}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc-node.flow_control_window': windowBytes,
      'grpc.per_rpc_retry_buffer_size': 0,
    });
  const agent = channel(options.relayed === true ? portOf(wire) : port);
  const peer = channel(port);
  let serial = 0;

  const openCarry = (id: string): FramePort => {
    const metadata = new Metadata();
    metadata.set('xylem-connection', id);
    const stream = agent.makeBidiStreamRequest(
      carryPath,
      (bytes: Buffer) => options.tamper?.(bytes) ?? bytes,
      (bytes: Buffer) => bytes,
      metadata,
    );
    return new FramePort(stream);
  };

  const dial = async (): Promise<Dialled> => {
    serial += 1;
    const id = String(serial);
    const arrived = new Queue<FramePort>();
    carries.set(id, arrived);
    const user = connect({ port: portOf(front), host: '127.0.0.1', allowHalfOpen: true });
    user.on('error', () => {});
    const toNode = connect({ port: portOf(node), host: '127.0.0.1', allowHalfOpen: true });
    const [userAtProxy, nodeSocket] = await Promise.all([users.take(), nodes.take()]);
    const atAgent = carry({ socket: toNode, frames: openCarry(id), role: 'answerer', via: ['agent'] });
    let frames = await arrived.take();
    carries.delete(id);
    await expectOutcome(frames);
    let hop: Promise<SpliceEnd> | undefined;
    if (options.hops === 1) {
      const outward = new FramePort(
        peer.makeBidiStreamRequest(
          forwardPath,
          (b: Buffer) => b,
          (b: Buffer) => b,
        ),
      );
      const inward = await forwards.take();
      const between = lane === undefined ? {} : { pace: { requester: lane, answerer: lane } };
      hop = splice({ requester: inward, answerer: frames, ...between }).closed;
      frames = outward;
    }
    const pace = lane === undefined ? {} : { pace: { socket: lane, frames: lane } };
    const atProxy = carry({ socket: userAtProxy, frames, role: 'requester', outcome: 'connected', ...pace });
    return { user, node: nodeSocket, atProxy, atAgent, hop, ends: Promise.all([atProxy.closed, atAgent.closed]) };
  };

  return {
    dial,
    serverCalls,
    cutTunnel: () => wires.forEach((socket) => socket.destroy()),
    close: async () => {
      agent.close();
      peer.close();
      server.forceShutdown();
      for (const socket of [...wires, ...sockets]) socket.destroy();
      await Promise.all([node, front, wire].map(closeServer));
    },
  };
}

async function expectOutcome(frames: FramePort): Promise<void> {
  const first = await frames.first(5_000);
  if (first.kind !== 'frame' || first.frame.kind?.$case !== 'outcome')
    throw new Error(`no outcome: ${JSON.stringify(first)}`);
}

/** Windows on the receiving side of the server, which grpc-js leaves at 65,535 bytes; real servers get them from libs/grpc. */
function widenWindows(server: Server, windowBytes: number): void {
  const common: unknown = Reflect.get(server, 'commonServerOptions');
  if (typeof common === 'object' && common !== null)
    Object.assign(common, { settings: { initialWindowSize: windowBytes } });
}

function widenSessions(server: Server): void {
  const servers: unknown = Reflect.get(server, 'http2Servers');
  if (!(servers instanceof Map)) return;
  for (const http2Server of servers.keys()) {
    http2Server.on('session', (session: Http2Session) => session.setLocalWindowSize(2 ** 31 - 1));
  }
}

function keep(sockets: Set<Socket>, socket: Socket): Socket {
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
  return socket;
}

/** Passes bytes on, each after a delay, with as much in flight as comes. */
function relay(from: Socket, to: Socket, delayMs: number): void {
  if (delayMs === 0) {
    from.pipe(to);
    return;
  }
  from.on('data', (bytes: Buffer) => setTimeout(() => to.write(bytes), delayMs));
  from.on('close', () => setTimeout(() => to.destroy(), delayMs));
}

/** Hands things from where they happen to who awaits them, in order. */
class Queue<T> {
  readonly #items: T[] = [];
  readonly #waiting: ((item: T) => void)[] = [];

  push(item: T): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#items.push(item);
    else waiting(item);
  }

  take(): Promise<T> {
    const item = this.#items.shift();
    return item === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(item);
  }
}

function listen(accept: (socket: Socket) => void): Promise<NetServer> {
  return new Promise((resolve) => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {});
      accept(socket);
    });
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}

function portOf(server: NetServer): number {
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return address.port;
}

function closeServer(server: NetServer): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
