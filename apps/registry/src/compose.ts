import { openAudit } from '@xylem/audit';
import type { AuditLog } from '@xylem/audit';
import type { TlsSource } from '@xylem/grpc';
import type { RegistryConfig, RegistryStatus } from '@xylem/membership';
import { OperatingError } from '@xylem/service';
import type { RunningService } from '@xylem/service';
import { auditHooks, EVENT, serveOps, startTelemetry } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import type { AuthorityPlane } from './authority/plane.ts';
import type { RegistrySettings } from './config.ts';
import { Observer } from './observer.ts';
import type { PasswordCost } from './access/passwords.ts';
import { assemble } from './parts.ts';
import type { Parts } from './parts.ts';
import { openStore } from './store-access.ts';
import { SOFTWARE_VERSION } from './version.ts';

/** What a test may put in place of the real thing. */
export interface Ports {
  readonly tls?: TlsSource;
  readonly telemetry?: Telemetry;
  readonly audit?: AuditLog;
  /** Settings of the core that have no key in the configuration. */
  readonly core?: Partial<RegistryConfig>;
  readonly passwordCost?: PasswordCost;
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

const CLOSE_LIMIT_MS = 1_000;

/**
 * Starts one registry replica. An unreachable store does not fail one with certificates from elsewhere: it keeps trying and is ready
 * when the store answers. One with an authority of its own waits for the store, because that says who the authority is.
 */
export async function start(settings: RegistrySettings, ports: Ports = {}): Promise<RunningRegistry> {
  const telemetry = ports.telemetry ?? openTelemetry(settings);
  const observer = new Observer(telemetry);
  const closers: Closer[] = [];
  try {
    const audit = ports.audit ?? (await openOwnAudit(settings, telemetry));
    closers.push(() => audit.close());
    const store = await openStore(settings);
    closers.unshift(() => store.close());
    const { tls, core, passwordCost } = ports;
    const parts = await assemble({ settings, telemetry, observer, audit, store, tls, core, passwordCost, closers });
    const { replica, server, plane } = parts;
    const opened = await open(parts, settings, telemetry, closers);
    observer.attach(replica, server);
    telemetry.log.info(EVENT.serviceStarted, { ...opened, store: store.name });
    return {
      ...opened,
      authority: plane,
      storeEndpoints: store.client.endpoints,
      status: () => replica.status(),
      ready: () => observer.whenReady(),
      async stop() {
        telemetry.log.info(EVENT.serviceStopping);
        server.setServing(false);
        await replica.shutDown();
        await server.close(CLOSE_LIMIT_MS);
        await closeAll(closers);
        telemetry.log.info(EVENT.serviceStopped);
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

/** Listens everywhere; answers with the real ports. */
async function open(
  { replica, server, plane, enrolment }: Parts,
  { listen, enrol, ops: { listen: opsListen } }: RegistrySettings,
  telemetry: Telemetry,
  closers: Closer[],
): Promise<Pick<RunningRegistry, 'port' | 'opsPort' | 'enrolPort'>> {
  const enrolPort = (await enrolment?.listen(enrol.listen)) ?? 0;
  await plane?.start(enrolPort);
  const ready = (): readonly string[] => (replica.status().ready ? [] : [replica.status().why]);
  const ops = await serveOps({ listen: opsListen, ready, metrics: () => telemetry.metrics.render() });
  closers.unshift(() => ops.close());
  return { port: await server.listen(listen), opsPort: ops.port, enrolPort };
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

async function openOwnAudit({ id, audit }: RegistrySettings, telemetry: Telemetry): Promise<AuditLog> {
  try {
    return await openAudit({ file: audit.file, service: 'registry', instance: id, ...auditHooks(telemetry) });
  } catch (error) {
    throw new OperatingError(`audit.file: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
