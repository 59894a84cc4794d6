import { readFileSync } from 'node:fs';
import { openAudit } from '@xylem/audit';
import type { AuditLog } from '@xylem/audit';
import type { EtcdOptions } from '@xylem/etcd';
import { startEtcdServer } from '@xylem/etcd-server';
import type { EtcdServer } from '@xylem/etcd-server';
import { createServer } from '@xylem/grpc';
import type { ServerFault, TlsSource } from '@xylem/grpc';
import { StatementSigner } from '@xylem/identity';
import { DEFAULT_REGISTRY_CONFIG } from '@xylem/membership';
import type { RegistryConfig, RegistryStatus } from '@xylem/membership';
import { OperatingError } from '@xylem/service';
import type { RunningService } from '@xylem/service';
import { auditHooks, EVENT, serveOps, startTelemetry } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import { authoriseProxies } from './authorise.ts';
import type { Authorise } from './authorise.ts';
import type { AuthorityPlane } from './authority/plane.ts';
import { openPlane, serveEnrolment } from './authority/open.ts';
import type { RegistrySettings } from './config.ts';
import { openExternalCredentials } from './credentials.ts';
import { sessionHandler } from './handlers/session.ts';
import { Attestor, attestAnew } from './attestor.ts';
import { Observer } from './observer.ts';
import { newBoot, Replica } from './replica.ts';
import { SOFTWARE_VERSION } from './version.ts';

/** What a test may put in place of the real thing. */
export interface Ports {
  readonly tls?: TlsSource;
  readonly telemetry?: Telemetry;
  readonly authorise?: Authorise;
  readonly audit?: AuditLog;
  /** Settings of the core that have no key in the configuration. */
  readonly core?: Partial<RegistryConfig>;
}

export interface RunningRegistry extends RunningService {
  readonly port: number;
  readonly opsPort: number;
  /** 0 without an authority of its own. */
  readonly enrolPort: number;
  /** undefined with certificates from elsewhere. */
  readonly authority: AuthorityPlane | undefined;
  /** URLs of the store in use. */
  readonly storeEndpoints: readonly string[];
  status(): RegistryStatus;
  /** Resolves when the replica gives views; at once if it does. */
  ready(): Promise<void>;
  /** Ends at once, as a crash would: nothing is said to anybody. */
  kill(): Promise<void>;
}

type Closer = () => Promise<void> | void;

/** A view of 100,000 claims fits, the most there may be; root proxies read as much. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const QUEUE_LIMIT_BYTES = 20 * 1024 * 1024;
const CLOSE_LIMIT_MS = 1_000;

/** Starts one registry replica. An unreachable store does not fail it: it keeps trying and is ready when the store answers. */
export async function start(settings: RegistrySettings, ports: Ports = {}): Promise<RunningRegistry> {
  const telemetry = ports.telemetry ?? openTelemetry(settings);
  const observer = new Observer(telemetry);
  const closers: Closer[] = [];
  try {
    const audit = ports.audit ?? (await openOwnAudit(settings, telemetry));
    closers.push(() => audit.close());
    const embedded = await openEmbedded(settings);
    if (embedded !== undefined) closers.unshift(() => embedded.close());
    const store = storeOf(settings, embedded);
    const external = ports.tls ?? (await openExternal(settings, telemetry, closers));
    const plane = external === undefined ? await openPlane(settings, store, audit, telemetry) : undefined;
    if (plane !== undefined) closers.unshift(() => plane.close());
    const tls = external ?? plane?.tls;
    if (tls === undefined) throw new Error('bug in registry: neither certificates from elsewhere nor an authority');
    const signer = new StatementSigner({ domain: settings.domain, current: () => tls.current() });
    const attestor = new Attestor(signer, (detail) => telemetry.log.error(EVENT.statementFailed, { detail }));
    const replica = new Replica({
      ...store,
      ...observer.hooks,
      config: coreConfig(settings, embedded, ports),
      attest: (stamp, members) => attestor.attest(stamp, members),
    });
    closers.unshift(() => replica.kill());
    closers.unshift(attestAnew(attestor, replica, tls));
    const server = createServer({
      tls,
      services: [sessionHandler(replica, ports.authorise ?? authoriseProxies(settings.domain))],
      maxMessageBytes: MAX_MESSAGE_BYTES,
      queueLimitBytes: QUEUE_LIMIT_BYTES,
      onError: (fault) => logFault(telemetry, fault),
    });
    closers.unshift(() => server.close(0));
    const enrolPort = plane === undefined ? 0 : await serveEnrolment(settings, plane, replica, telemetry, closers);
    const ready = (): readonly string[] => (replica.status().ready ? [] : [replica.status().why]);
    const ops = await serveOps({ listen: settings.ops.listen, ready, metrics: () => telemetry.metrics.render() });
    closers.unshift(() => ops.close());
    const port = await server.listen(settings.listen);
    observer.attach(replica, server);
    telemetry.log.info(EVENT.serviceStarted, {
      port,
      opsPort: ops.port,
      enrolPort,
      store: storeName(settings, embedded),
    });
    return {
      port,
      opsPort: ops.port,
      enrolPort,
      authority: plane,
      storeEndpoints: endpointsOf(settings, embedded),
      status: () => replica.status(),
      ready: () => observer.whenReady(),
      async stop() {
        telemetry.log.info(EVENT.serviceStopping);
        server.setServing(false);
        await replica.shutDown();
        await server.close(CLOSE_LIMIT_MS);
        await closeAll(closers);
        await telemetry.shutdown();
      },
      async kill() {
        replica.kill();
        await closeAll(closers);
      },
    };
  } catch (error) {
    await closeAll(closers);
    throw error;
  }
}

async function closeAll(closers: readonly Closer[]): Promise<void> {
  for (const close of closers) await close();
}

function openTelemetry(settings: RegistrySettings): Telemetry {
  return startTelemetry({
    service: 'registry',
    instance: settings.id,
    version: SOFTWARE_VERSION,
    logLevel: settings.log.level,
    otlpEndpoint: settings.telemetry.otlpEndpoint,
  });
}

async function openExternal(
  settings: RegistrySettings,
  telemetry: Telemetry,
  closers: Closer[],
): Promise<TlsSource | undefined> {
  const credentials = await openExternalCredentials(settings, telemetry);
  if (credentials !== undefined) closers.push(() => credentials.close());
  return credentials;
}

async function openOwnAudit({ id, audit }: RegistrySettings, telemetry: Telemetry): Promise<AuditLog> {
  try {
    return await openAudit({ file: audit.file, service: 'registry', instance: id, ...auditHooks(telemetry) });
  } catch (error) {
    throw new OperatingError(`audit.file: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

async function openEmbedded(settings: RegistrySettings): Promise<EtcdServer | undefined> {
  if (settings.store.kind !== 'embedded') return undefined;
  return startEtcdServer({ dataDir: settings.store.dataDir, listen: settings.store.listen, name: settings.id });
}

function endpointsOf(settings: RegistrySettings, embedded: EtcdServer | undefined): readonly string[] {
  if (embedded !== undefined) return [embedded.endpoint];
  return settings.store.kind === 'etcd' ? settings.store.endpoints : [];
}

function storeName(settings: RegistrySettings, embedded: EtcdServer | undefined): string {
  return endpointsOf(settings, embedded).join(', ');
}

function storeOf(settings: RegistrySettings, embedded: EtcdServer | undefined): Pick<EtcdOptions, 'endpoints' | 'tls'> {
  const endpoints = endpointsOf(settings, embedded);
  const files = settings.store.kind === 'etcd' ? settings.store.tls : undefined;
  if (files === undefined) return { endpoints };
  const { cert, key } = files;
  const pem = (path: string): string => readFileSync(path, 'utf8');
  return {
    endpoints,
    tls: {
      ca: pem(files.ca),
      ...(cert === undefined ? {} : { cert: pem(cert) }),
      ...(key === undefined ? {} : { key: pem(key) }),
    },
  };
}

function coreConfig(settings: RegistrySettings, embedded: EtcdServer | undefined, ports: Ports): RegistryConfig {
  const { id, leaseTtlMs, heartbeatIntervalMs } = settings;
  return {
    ...DEFAULT_REGISTRY_CONFIG,
    registry: id,
    boot: newBoot(),
    storeName: storeName(settings, embedded),
    leaseTtlMs,
    heartbeatIntervalMs,
    sessionTimeoutMs: 3 * heartbeatIntervalMs,
    ...ports.core,
  };
}

function logFault(telemetry: Telemetry, fault: ServerFault): void {
  const detail = fault.cause instanceof Error ? fault.cause.message : String(fault.cause);
  if (fault.kind === 'handler') telemetry.log.error(EVENT.internalError, { where: fault.where, error: fault.cause });
  else telemetry.log.warn(EVENT.handshakeFailed, { where: fault.where, detail });
}
