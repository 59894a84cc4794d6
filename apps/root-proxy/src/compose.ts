import { openAudit } from '@xylem/audit';
import type { AuditLog } from '@xylem/audit';
import type { RegistryLinkStatus, RootStatus } from '@xylem/discovery';
import type { TlsSource } from '@xylem/grpc';
import { OperatingError, parseHostPort } from '@xylem/service';
import type { RunningService } from '@xylem/service';
import { auditHooks, EVENT, serveOps, startTelemetry } from '@xylem/telemetry';
import type { OpsServer, Telemetry } from '@xylem/telemetry';
import type { RouterStatus } from '@xylem/tunnel';
import { VERSION } from './config.ts';
import type { ProxyConfig } from './config.ts';
import { observeState } from './gauges.ts';
import { isProxyId } from './ids.ts';
import { openOwnCredentials } from './own-credentials.ts';
import { assemble } from './parts.ts';
import type { OwnTls, Parts, Tuning } from './parts.ts';
import { EnrolmentAddresses } from './registry/enrolment-addresses.ts';
import type { Advertised } from './registry/link.ts';
import { drainAndStop } from './stop.ts';

/** What tests replace. */
export interface ProxyOverrides extends Tuning {
  readonly tls?: TlsSource & { close?(): void };
  readonly telemetry?: Telemetry;
}

export interface RunningProxy extends RunningService {
  /** The real ports. */
  readonly ports: {
    readonly tunnel: number;
    readonly peer: number;
    readonly access: number;
    readonly frontDoor: number;
    readonly ops: number;
  };
  status(): ProxyStatus;
  /** Ends at once, as a crash would: the registry is told nothing. */
  kill(): Promise<void>;
}

export interface ProxyStatus {
  readonly root: RootStatus;
  readonly registry: RegistryLinkStatus;
  readonly dials: RouterStatus;
  /** Names of the other live members. */
  readonly peers: readonly string[];
  /** Connections that are relayed to peers. */
  readonly relays: number;
  /** 0 when none was ever set, undefined before the first word of a registry. */
  readonly policyVersion: number | undefined;
}

/**
 * Starts one root proxy. Rejects with one clear line when it cannot run at all; registries that are away are no such
 * reason: it serves, and registers when one is there.
 */
export async function start(config: ProxyConfig, overrides: ProxyOverrides = {}): Promise<RunningProxy> {
  const { id } = config;
  if (!isProxyId(id)) throw new OperatingError(`id: ${JSON.stringify(id)} cannot name a root proxy`);
  const telemetry = overrides.telemetry ?? openTelemetry(config);
  const audit = await openOwnAudit(config, telemetry);
  const enrolment = new EnrolmentAddresses(config.registries, config.identity?.enrol);
  const tls: OwnTls & { close?(): void } = overrides.tls ?? (await openOwnCredentials(config, enrolment, telemetry));
  const parts = assemble(id, config, overrides, { telemetry, audit, enrolment }, tls);
  observeState(telemetry.metrics, parts);
  const release = async (ops?: OpsServer): Promise<void> => {
    closeNow(parts);
    tls.close?.();
    await audit.close();
    await ops?.close();
  };
  const { ops, ports } = await open(parts, config, telemetry).catch(async (error: unknown) => {
    await release();
    throw error instanceof Error ? new OperatingError(error.message, { cause: error }) : error;
  });
  parts.link.start(advertised(config, ports));
  telemetry.log.info(EVENT.serviceStarted, { proxy: id, ...ports });
  return {
    ports,
    status: () => statusOf(parts),
    async stop() {
      telemetry.log.info(EVENT.serviceStopping);
      await drainAndStop(parts, config.drain, telemetry);
      await release(ops);
      telemetry.log.info(EVENT.serviceStopped);
      await telemetry.shutdown();
    },
    kill: () => release(ops),
  };
}

function openTelemetry(config: ProxyConfig): Telemetry {
  return startTelemetry({
    service: 'root-proxy',
    instance: config.id,
    version: VERSION,
    logLevel: config.log.level,
    otlpEndpoint: config.telemetry.otlpEndpoint,
  });
}

async function openOwnAudit({ id, audit }: ProxyConfig, telemetry: Telemetry): Promise<AuditLog> {
  return openAudit({ file: audit.file, service: 'root-proxy', instance: id, ...auditHooks(telemetry) }).catch(
    named('audit.file'),
  );
}

interface Opened {
  readonly ops: OpsServer;
  readonly ports: RunningProxy['ports'];
}

async function open(parts: Parts, config: ProxyConfig, telemetry: Telemetry): Promise<Opened> {
  const { servers, listener } = parts;
  const peer = await servers.peer.listen(config.peer.listen).catch(named('peer.listen'));
  const access = await servers.access.listen(config.access.listen).catch(named('access.listen'));
  const tunnel = await listener.listen(config.tunnel.listen);
  const frontDoor = await parts.frontDoor.listen(config.frontDoor.listen);
  const ops = await serveOps({
    listen: config.ops.listen,
    ready: () => notReady(parts),
    metrics: () => telemetry.metrics.render(),
  });
  return { ops, ports: { tunnel, peer, access, frontDoor, ops: ops.port } };
}

/** A proxy that no registry ever knew cannot be found by agents, and denies every dial; one that lost its registries serves on. */
function notReady({ link, plane, security }: Parts): string[] {
  const { incarnation, problem } = link.status();
  if (plane.status().draining) return ['draining'];
  if (incarnation === 0n) return [problem ?? 'no registry has registered this root proxy yet'];
  return security.gate.version === undefined ? ['no registry has told the policy yet'] : [];
}

function statusOf({ link, plane, dials, security, peers, relays }: Parts): ProxyStatus {
  return {
    root: plane.status(),
    registry: link.status(),
    dials: dials.status(),
    peers: peers.names(),
    relays: relays.size,
    policyVersion: security.gate.version,
  };
}

/** Lets go of everything at once. Idempotent. */
function closeNow(parts: Parts): void {
  const { link, plane, dials, security, peers, relays, enrolments, connections, listener, frontDoor, servers } = parts;
  listener.close();
  frontDoor.close();
  link.close();
  security.standing.close();
  plane.stop();
  dials.abortAll('shutdown', 'the root proxy stops');
  relays.abortAll();
  enrolments.abortAll();
  connections.closeAll();
  peers.close();
  for (const server of Object.values(servers)) void server.close(0);
  dials.stop();
}

/** host:port of each plane as other root proxies reach it. */
function advertised({ peer, tunnel }: ProxyConfig, ports: RunningProxy['ports']): Advertised {
  return {
    peerAddress: peer.advertise ?? withPort(peer.listen, ports.peer),
    tunnelAddress: tunnel.advertise ?? withPort(tunnel.listen, ports.tunnel),
  };
}

function withPort(address: string, port: number): string {
  const host = parseHostPort(address)?.host ?? '127.0.0.1';
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function named(key: string): (error: unknown) => never {
  return (error) => {
    throw new OperatingError(`${key}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  };
}
