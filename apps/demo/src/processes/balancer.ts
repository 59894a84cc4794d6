/**
 * A TCP load balancer: strict round robin per listening address, no TLS, half-close and resets kept. A backend that
 * refuses is passed over for the next one, as a health check would do. Runs as a process of its own:
 *
 *   node balancer.ts --listen 127.0.0.1:7200=tunnel --listen 127.0.0.1:7280=front-door
 *
 * and takes its backends as JSON lines on standard input: `{"tunnel":["127.0.0.1:7210"],"front-door":[...]}`.
 */
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

const CONNECT_TIMEOUT_MS = 1_000;
const CONNECTION_LIMIT = 4_096;

/** One listening address and the backends that its connections go to in turn. */
export class Balancer {
  readonly #server: Server;
  #backends: readonly string[] = [];
  #next = 0;

  constructor() {
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => this.#serve(client));
    this.#server.maxConnections = CONNECTION_LIMIT;
  }

  /** Resolves with the port; rejects when the address is taken. */
  listen(address: string): Promise<number> {
    const { host, port } = split(address);
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        const bound = this.#server.address();
        resolve(bound !== null && typeof bound === 'object' ? bound.port : port);
      });
    });
  }

  setBackends(backends: readonly string[]): void {
    this.#backends = backends;
  }

  /** Takes no more connections; those that are open go on. */
  close(): void {
    this.#server.close();
  }

  #serve(client: Socket): void {
    const count = this.#backends.length;
    const first = this.#next;
    this.#next += 1;
    const candidates = this.#backends
      .map((_, index) => this.#backends[(first + index) % count])
      .filter((backend) => backend !== undefined);
    client.on('error', () => client.destroy());
    this.#tryEach(client, candidates);
  }

  #tryEach(client: Socket, candidates: readonly string[]): void {
    const [candidate, ...others] = candidates;
    if (candidate === undefined) {
      client.resetAndDestroy();
      return;
    }
    const { host, port } = split(candidate);
    const upstream = connect({ host, port, allowHalfOpen: true });
    const timer = setTimeout(() => upstream.destroy(new Error('timeout')), CONNECT_TIMEOUT_MS);
    const failed = (): void => {
      clearTimeout(timer);
      upstream.destroy();
      this.#tryEach(client, others);
    };
    upstream.once('error', failed);
    upstream.once('connect', () => {
      clearTimeout(timer);
      upstream.off('error', failed);
      join(client, upstream);
    });
  }
}

/** Moves bytes both ways; each end's FIN is passed on as a FIN, a reset as a reset. */
function join(a: Socket, b: Socket): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.setNoDelay(true);
    from.on('error', () => to.resetAndDestroy());
    from.on('close', (hadError) => {
      if (hadError || !from.readableEnded) to.resetAndDestroy();
    });
    from.pipe(to);
  }
}

function split(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
}

/** `{"tunnel":["127.0.0.1:7310"]}` */
function readGroups(line: string): [string, readonly string[]][] {
  const value: unknown = JSON.parse(line);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).map(([group, backends]: [string, unknown]) => {
    return [group, Array.isArray(backends) ? backends.filter((backend) => typeof backend === 'string') : []];
  });
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { listen: { type: 'string', multiple: true, default: [] } } });
  const balancers = new Map<string, Balancer>();
  for (const entry of values.listen) {
    const [address = '', group = ''] = entry.split('=');
    const balancer = new Balancer();
    await balancer.listen(address);
    balancers.set(group, balancer);
  }
  process.stdout.write('{"event":"service.ready"}\n');
  const commands = createInterface({ input: process.stdin });
  commands.on('line', (line) => {
    for (const [group, backends] of readGroups(line)) balancers.get(group)?.setBackends(backends);
  });
  // Standard input is the lifeline as well.
  commands.on('close', () => process.exit(0));
}

if (import.meta.main) await main();
