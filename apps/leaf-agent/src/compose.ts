import { openAudit } from '@xylem/audit';
import type { AuditLog } from '@xylem/audit';
import { defaultLeafConfig } from '@xylem/discovery';
import type { LeafConfig, LeafStatus, Random } from '@xylem/discovery';
import { describeIdentity, fileTlsSource, isSignedByOwn, parseIdentity } from '@xylem/identity';
import type { FileTlsSource } from '@xylem/identity';
import { OperatingError } from '@xylem/service';
import type { RunningService } from '@xylem/service';
import { auditHooks, EVENT, METRIC, serveOps, startTelemetry } from '@xylem/telemetry';
import type { Telemetry, TelemetryOptions } from '@xylem/telemetry';
import { X509Certificate } from 'node:crypto';
import type { AgentConfig } from './config.ts';
import { DiscoveryAgent } from './discovery/agent.ts';
import { isAgentId, isLeafId } from './ids.ts';
import type { Resolver } from './nodes/connect.ts';
import { NodeList } from './nodes/list.ts';
import { DialTelemetry } from './telemetry/dials.ts';
import { Fence } from './tunnel/fence.ts';
import { SOFTWARE_VERSION } from './version.ts';

/** What tests replace. */
export interface AgentOverrides {
  readonly random?: Random;
  readonly logDestination?: NonNullable<TelemetryOptions['logDestination']>;
  /** Times of discovery. */
  readonly discovery?: Partial<Omit<LeafConfig, 'leaf' | 'agent' | 'steering'>>;
  readonly resolve?: Resolver;
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
  const tls = openTls(config, telemetry);
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
  tls: FileTlsSource,
): DiscoveryAgent {
  const { leaf, agent } = config;
  if (!isLeafId(leaf) || !isAgentId(agent)) throw new Error('assertion failed: the configuration was not checked');
  return new DiscoveryAgent(
    { ...defaultLeafConfig(leaf, agent), steering: config.steering, ...overrides.discovery },
    {
      root: config.root,
      domain: config.domain,
      tls,
      telemetry,
      random: overrides.random ?? { next: () => Math.random() },
      carrying: {
        leaf,
        agent,
        nodes: new NodeList(config.nodes),
        fence: new Fence(),
        telemetry: new DialTelemetry(telemetry, audit),
        maxConnectionsPerTunnel: config.maxConnectionsPerTunnel,
        ...(overrides.resolve === undefined ? {} : { resolve: overrides.resolve }),
      },
    },
  );
}

const UNTRUSTED =
  'tls.cert was not signed by an authority in tls.ca: root proxies that trust the same close the connection';

function openTls(config: AgentConfig, telemetry: Telemetry): FileTlsSource {
  const source = fileTlsSource(config.tls, {
    onProblem: (problem) => {
      telemetry.metrics.counter(METRIC.tlsReloads, { result: 'failed' }).add();
      telemetry.log.error(EVENT.tlsReloadFailed, { detail: problem.message });
    },
    onReload: (notAfterMs) => {
      telemetry.metrics.counter(METRIC.tlsReloads, { result: 'reloaded' }).add();
      telemetry.log.info(EVENT.tlsReloaded, { notAfter: new Date(notAfterMs).toISOString() });
    },
  });
  telemetry.metrics.observe(METRIC.certificateExpirySeconds, () => (source.notAfterMs() - Date.now()) / 1_000);
  const problem = identityProblem(source.current().cert, config);
  if (problem !== undefined) {
    source.close();
    throw new OperatingError(problem);
  }
  if (!isSignedByOwn(source.current())) {
    telemetry.log.warn(EVENT.tlsUntrusted, { cert: config.tls.cert, ca: config.tls.ca, detail: UNTRUSTED });
  }
  return source;
}

/** The root proxies refuse an agent that names somebody else: better said here, with the remedy. */
function identityProblem(cert: string, { domain, leaf, agent, tls }: AgentConfig): string | undefined {
  const identity = parseIdentity(urisOf(cert), domain);
  if (identity.kind === 'problem') return `tls.cert: ${tls.cert} cannot be used: ${identity.detail}`;
  if (identity.kind === 'agent' && identity.leaf === leaf && identity.agent === agent) return undefined;
  return `tls.cert: ${tls.cert} is the certificate of ${describeIdentity(identity)}, the configuration says agent ${leaf}/${agent}; set leaf and agent accordingly or use the right files`;
}

function urisOf(cert: string): string[] {
  const names = new X509Certificate(cert).subjectAltName ?? '';
  return names.split(', ').flatMap((name) => (name.startsWith('URI:') ? [name.slice('URI:'.length)] : []));
}

function notReady(status: LeafStatus): string[] {
  if (status.problem !== undefined) return [status.problem];
  const connected = status.entries.some(({ state }) => state === 'claimed' || state === 'standby');
  return connected ? [] : ['no root proxy is claimed, and none kept as standby'];
}
