import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { start } from '../compose.ts';
import type { AgentOverrides, RunningAgent } from '../compose.ts';
import { loadAgentConfig } from '../config.ts';
import type { AgentConfig } from '../config.ts';
import { DOMAIN, Mailbox } from './root.ts';
import type { TestIdentity } from './root.ts';

/** Log lines of an agent, parsed. */
class LogLines {
  readonly lines: Record<string, unknown>[] = [];
  readonly #waiting: { readonly matches: (line: Record<string, unknown>) => boolean; readonly resolve: () => void }[] =
    [];

  write(text: string): void {
    const line: unknown = JSON.parse(text);
    if (typeof line !== 'object' || line === null) return;
    const record: Record<string, unknown> = { ...line };
    this.lines.push(record);
    for (const { matches, resolve } of this.#waiting) if (matches(record)) resolve();
  }

  /** Resolves when a line has all these fields, now or earlier. */
  has(fields: Readonly<Record<string, unknown>>): Promise<void> {
    const matches = (line: Record<string, unknown>): boolean =>
      Object.entries(fields).every(([key, value]) => line[key] === value);
    if (this.lines.some(matches)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ matches, resolve }));
  }
}

export interface TestAgent {
  readonly agent: RunningAgent;
  readonly log: LogLines;
}

export interface TestAgentOptions {
  readonly identity: TestIdentity;
  readonly rootPort: number;
  readonly nodes?: AgentConfig['nodes'];
  readonly changes?: Partial<AgentConfig>;
  readonly overrides?: AgentOverrides;
}

/** An agent `berlin/a1` in this process. */
export async function startTestAgent(options: TestAgentOptions): Promise<TestAgent> {
  const log = new LogLines();
  const config: AgentConfig = {
    domain: DOMAIN,
    tls: options.identity.tls,
    ops: { listen: '127.0.0.1:0' },
    log: { level: 'debug' },
    audit: { required: false },
    telemetry: {},
    leaf: 'berlin',
    agent: 'a1',
    root: `127.0.0.1:${options.rootPort}`,
    steering: 'sni',
    nodes: options.nodes ?? [{ name: 'web', ports: [{ port: 80, address: '127.0.0.1:9' }] }],
    drain: { deadlineMs: 300 },
    maxConnectionsPerTunnel: 900,
    ...options.changes,
  };
  const agent = await start(config, { logDestination: log, ...options.overrides });
  return { agent, log };
}

/** A node on loopback; hands out accepted sockets. */
export interface TestNode {
  readonly address: string;
  readonly connections: number;
  accepted(): Promise<Socket>;
  close(): Promise<void>;
}

export async function startTestNode(): Promise<TestNode> {
  const accepted = new Mailbox<Socket>();
  const sockets = new Set<Socket>();
  let connections = 0;
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('error', () => {});
    accepted.put(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('the node does not listen');
  return {
    address: `127.0.0.1:${bound.port}`,
    get connections() {
      return connections;
    },
    accepted: () => accepted.take('a connection at the node'),
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Problems that the configuration reader reports for these flags. */
export function configProblems(
  argv: readonly string[],
  yaml: string,
): readonly { readonly key: string; readonly detail: string }[] {
  const outcome = loadAgentConfig({ argv: [...argv, '--config', 'agent.yaml'], env: {}, readFile: () => yaml });
  return outcome.kind === 'invalid' ? outcome.problems : [];
}
