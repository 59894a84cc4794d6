import { isName } from '@xylem/discovery';
import { address, commonKeys, durationMs, loadConfig, parseHostPort, withCredentials } from '@xylem/service';
import type { ConfigInput, ConfigOutcome } from '@xylem/service';
import * as z from 'zod';
import { SOFTWARE_VERSION } from './version.ts';

const PORT_MAX = 65_535;

function label(what: string) {
  return z.string().refine(isName, {
    error: ({ input }) => `${JSON.stringify(input)} is not a ${what}; use 1 to 63 of a-z 0-9 -, with no - at the ends`,
  });
}

const nodePort = z.strictObject({
  port: z.int().min(1).max(PORT_MAX).describe('the port that users dial'),
  address: address({ example: '10.0.0.5:8080' }).describe('where this agent connects to'),
});

const node = z.strictObject({
  name: label('node name').describe('the name that users dial'),
  ports: z.array(nodePort).min(1),
});

const nodes = z
  .array(node)
  .min(1)
  .superRefine((list, context) => {
    for (const [index, { name: nodeName, ports }] of list.entries()) {
      if (list.findIndex((other) => other.name === nodeName) < index) {
        context.addIssue({
          code: 'custom',
          path: [index, 'name'],
          message: `node ${nodeName} is listed twice; join its ports in one entry`,
        });
      }
      for (const [at, { port }] of ports.entries()) {
        if (ports.findIndex((other) => other.port === port) === at) continue;
        context.addIssue({
          code: 'custom',
          path: [index, 'ports', at, 'port'],
          message: `port ${port} of node ${nodeName} is listed twice`,
        });
      }
    }
  });

const schema = withCredentials(
  z.strictObject({
    ...commonKeys({ opsListen: '127.0.0.1:9102' }),
    leaf: label('leaf cluster name').describe('name of the leaf cluster, as in the certificate'),
    agent: label('agent name').describe('name of this agent, as in the certificate'),
    root: address({ example: 'root.example.com:7200' }).describe('the load balancer in front of the root proxies'),
    steering: z
      .enum(['sni', 'off'])
      .default('sni')
      .describe('name the wanted root proxy in the TLS handshake, or leave it to the balancer'),
    nodes: nodes.describe('what users may dial; nothing else can be dialled'),
    drain: z
      .strictObject({
        deadlineMs: durationMs({ min: 0, max: 3_600_000 })
          .default(30_000)
          .describe('how long open connections may finish when this agent stops'),
      })
      .prefault({}),
    maxConnectionsPerTunnel: z
      .int()
      .min(1)
      .max(900)
      .default(900)
      .describe('carried connections per root proxy; one HTTP/2 connection has 1000 streams'),
  }),
);

const checked = schema.superRefine((config, context) => {
  const own = parseHostPort(config.ops.listen);
  for (const [index, { ports }] of config.nodes.entries()) {
    for (const [at, { address: text }] of ports.entries()) {
      const parsed = parseHostPort(text);
      if (parsed === undefined || own === undefined || parsed.port !== own.port) continue;
      if (!isOwnHost(parsed.host, own.host)) continue;
      context.addIssue({
        code: 'custom',
        path: ['nodes', index, 'ports', at, 'address'],
        message: `${text} is where this agent serves its own metrics (ops.listen); users must not reach that`,
      });
    }
  }
});

const OWN_MACHINE = /^(?:127\.|localhost\.?$|0\.0\.0\.0$|::1?$)/i;

/** What listens on the machine's own or unspecified address is reached by each name of the machine. */
function isOwnHost(host: string, listens: string): boolean {
  return host === listens || (OWN_MACHINE.test(host) && OWN_MACHINE.test(listens));
}

export type AgentConfig = z.output<typeof schema>;

/** Reads file, environment and flags; every problem is listed with its key. */
export function loadAgentConfig(input: ConfigInput): ConfigOutcome<AgentConfig> {
  return loadConfig(
    {
      service: 'xylem-leaf-agent',
      version: SOFTWARE_VERSION,
      summary: 'Dials out to every root proxy, claims each, and carries connections to the nodes of its leaf cluster.',
      schema: checked,
    },
    input,
  );
}
