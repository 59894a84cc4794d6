import { openAudit } from '@xylem/audit';
import type { AuditLog } from '@xylem/audit';
import { defaultLeafConfig, DialFence } from '@xylem/discovery';
import type { LifetimeOptions } from '@xylem/grpc';
import type { LeafConfig, LeafStatus, Random } from '@xylem/discovery';
import { StatementVerifier } from '@xylem/identity';
import type { Credentials } from '@xylem/identity';
import { OperatingError } from '@xylem/service';
import type { RunningService } from '@xylem/service';
import { auditHooks, EVENT, serveOps, startTelemetry } from '@xylem/telemetry';
import type { Telemetry, TelemetryOptions } from '@xylem/telemetry';
import { randomUUID } from 'node:crypto';
import type { AgentConfig } from './config.ts';
import { openOwnCredentials } from './credentials.ts';
import { DiscoveryAgent } from './discovery/agent.ts';
import { isAgentId, isLeafId } from './ids.ts';
import type { Resolver } from './nodes/resolve.ts';
import { NodeList } from './nodes/list.ts';
import { DialTelemetry } from './telemetry/dials.ts';
import { DialAdmission } from './trust/dial-admission.ts';
import { GossipAdmission } from './trust/gossip-admission.ts';
import { RevokedProxies } from './trust/revoked-proxies.ts';
import { SeenConnections } from './trust/seen-connections.ts';
import { SOFTWARE_VERSION } from './version.ts';

/** What tests replace. */
export interface AgentOverrides {
  readonly random?: Random;
  readonly logDestination?: NonNullable<TelemetryOptions['logDestination']>;
  /** Times of discovery. */
  readonly discovery?: Partial<Omit<LeafConfig, 'leaf' | 'agent' | 'steering'>>;
  readonly resolve?: Resolver;
  /** Of tunnels, beyond the certificates they were made with. */
  readonly lifetime?: LifetimeOptions;
}

export interface RunningAgent extends RunningService {
  /** Where /metrics is served. */
  readonly opsPort: number;
  status(): LeafStatus;
}

/** Starts an agent. Rejects with one clear line when it cannot run at all; a balancer that is away is no such reason. */
export async function start(config: AgentConfig, overrides: AgentOverrides = {}): Promise<RunningAgent> {
  const telemetry = startTelemetry({
    service: 'leaf-agent',
    instance: `${config.leaf}/${config.agent}`,
    version: SOFTWARE_VERSION,
    logLevel: config.log.level,
    otlpEndpoint: config.telemetry.otlpEndpoint,
    ...(overrides.logDestination === undefined ? {} : { logDestination: overrides.logDestination }),
  });
  const audit = await openOwnAudit(config, telemetry);
  const tls = await openOwnCredentials(config, telemetry);
  const agent = makeAgent(config, overrides, { telemetry, audit }, tls);
  const ops = await serveOps({
    listen: config.ops.listen,
    ready: () => notReady(agent.status()),
    metrics: () => telemetry.metrics.render(),
  }).catch((error: unknown) => {
    tls.close();
    throw error instanceof Error ? new OperatingError(error.message, { cause: error }) : error;
  });
  agent.start();
  telemetry.log.info(EVENT.serviceReady, {
    root: config.root,
    steering: config.steering,
    nodes: config.nodes.map(({ name }) => name),
  });
  const leave = async (): Promise<void> => {
    telemetry.log.info(EVENT.serviceStopping);
    await agent.leave(config.drain.deadlineMs);
    tls.close();
    await audit.close();
    await ops.close();
    telemetry.log.info(EVENT.serviceStopped);
    await telemetry.shutdown();
  };
  let stopped: Promise<void> | undefined;
  return {
    opsPort: ops.port,
    status: () => agent.status(),
    stop: () => (stopped ??= leave()),
  };
}

async function openOwnAudit(config: AgentConfig, telemetry: Telemetry): Promise<AuditLog> {
  const { audit, leaf, agent } = config;
  const settings = { file: audit.file, service: 'leaf-agent', instance: `${leaf}/${agent}`, ...auditHooks(telemetry) };
  return openAudit(settings).catch((error: unknown) => {
    throw new OperatingError(`audit.file: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  });
}

function makeAgent(
  config: AgentConfig,
  overrides: AgentOverrides,
  { telemetry, audit }: { readonly telemetry: Telemetry; readonly audit: AuditLog },
  tls: Credentials,
): DiscoveryAgent {
  const { leaf, agent } = config;
  if (!isLeafId(leaf) || !isAgentId(agent)) throw new Error('assertion failed: the configuration was not checked');
  const instance = randomUUID();
  const verifier = new StatementVerifier({ domain: config.domain, trust: () => tls.current().ca });
  return new DiscoveryAgent(
    { ...defaultLeafConfig(leaf, agent), steering: config.steering, ...overrides.discovery },
    {
      root: config.root,
      domain: config.domain,
      tls,
      telemetry,
      audit,
      instance,
      gossip: new GossipAdmission(verifier),
      revoked: new RevokedProxies({ domain: config.domain, verifier }),
      random: overrides.random ?? { next: () => Math.random() },
      lifetime: overrides.lifetime ?? {},
      trustChanged: (generation) => tls.trustChanged(generation),
      carrying: {
        leaf,
        agent,
        nodes: new NodeList(config.nodes),
        fence: new DialFence(),
        admission: new DialAdmission({ leaf, agent, instance, verifier, seen: new SeenConnections() }),
        telemetry: new DialTelemetry(telemetry, audit),
        maxConnectionsPerTunnel: config.maxConnectionsPerTunnel,
        ...(overrides.resolve === undefined ? {} : { resolve: overrides.resolve }),
      },
    },
  );
}

function notReady(status: LeafStatus): string[] {
  if (status.problem !== undefined) return [status.problem];
  const connected = status.entries.some(({ state }) => state === 'claimed' || state === 'standby');
  return connected ? [] : ['no root proxy is claimed, and none kept as standby'];
}
