import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { StoreConfig } from '@xylem/store';
import { etcd } from '@xylem/wire';
import { PauseAwareClock } from './clock.ts';
import type { HeaderOf } from './convert.ts';
import { Engine } from './engine.ts';
import { newIdentity, openStoreFile } from './file.ts';
import type { OpenedStore } from './file.ts';
import { kvHandlers, MAX_REQUEST_BYTES } from './kv.ts';
import { leaseHandlers } from './lease.ts';
import { clusterHandlers, maintenanceHandlers } from './maintenance.ts';
import type { MemberInfo } from './maintenance.ts';
import { OpenStreams } from './streams.ts';
import { watchHandlers } from './watch.ts';

export interface EtcdServerOptions {
  /** Folder of the store file, made when there is none. undefined: everything is lost with the process. */
  readonly dataDir: string | undefined;
  /** host:port; port 0 takes a free one. Default `127.0.0.1:2379`. */
  readonly listen?: string;
  /** PEM texts. Clients must show a certificate of this CA. Without it only loopback addresses may be listened on. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Name in member lists. Default `embedded`. */
  readonly name?: string;
  /** History that is kept beyond the newest state. Default 10_000 revisions: minutes of churn for a watcher that was away. */
  readonly keepRevisions?: number;
  /** History older than this is dropped too. Default: kept. */
  readonly keepMs?: number;
  /** Writes are refused (alarm NOSPACE) once the store holds this much, all of it in memory. Default 256 MiB. */
  readonly quotaBytes?: number;
  /** Default 2, as etcd. */
  readonly minLeaseTtlSeconds?: number;
  /** How often an idle watch that asked for it hears of progress. Default 10 minutes, as etcd. */
  readonly progressIntervalMs?: number;
}

export interface EtcdServer {
  /** URL with the real port, e.g. `http://127.0.0.1:2379`. */
  readonly endpoint: string;
  /** host:port of the same. */
  readonly address: string;
  /** Ends streams, writes down what was asked for, closes the file. Idempotent. */
  close(): Promise<void>;
}

const DEFAULT_LISTEN = '127.0.0.1:2379';
const CLOSE_LIMIT_MS = 1_000;
const MESSAGE_OVERHEAD_BYTES = 512 * 1024;
const RAFT_TERM = 1n;

const CHANNEL_OPTIONS = {
  'grpc.max_receive_message_length': MAX_REQUEST_BYTES + MESSAGE_OVERHEAD_BYTES,
  'grpc.max_send_message_length': -1,
  'grpc.max_concurrent_streams': 10_000,
  'grpc-node.max_session_memory': 64,
};

/**
 * Serves the store as etcd's gRPC API (KV, Watch, Lease, and of Cluster and Maintenance what clients ask at connecting). Rejects
 * with a one-line message that names file or address and the remedy.
 */
export async function startEtcdServer(options: EtcdServerOptions): Promise<EtcdServer> {
  const listen = options.listen ?? DEFAULT_LISTEN;
  const host = hostOf(listen);
  if (options.tls === undefined && !isLoopback(host)) {
    throw new Error(
      `store.listen ${listen}: without TLS the store is served on loopback only, because who reaches it owns it; ` +
        'listen on 127.0.0.1 or give certificates',
    );
  }
  const clock = new PauseAwareClock();
  try {
    const opened = options.dataDir === undefined ? undefined : openStoreFile(options.dataDir, clock.now());
    const engine = new Engine({ config: configOf(options), file: opened?.file, state: opened?.state, clock });
    return await serve(options, listen, engine, opened, clock);
  } catch (error) {
    clock.stop();
    throw error;
  }
}

async function serve(
  options: EtcdServerOptions,
  listen: string,
  engine: Engine,
  opened: OpenedStore | undefined,
  clock: PauseAwareClock,
): Promise<EtcdServer> {
  const identity = opened?.identity ?? newIdentity();
  const server = new Server(CHANNEL_OPTIONS);
  let address = listen;
  const scheme = options.tls === undefined ? 'http' : 'https';
  const info: MemberInfo = {
    identity,
    name: options.name ?? 'embedded',
    endpoint: () => `${scheme}://${address}`,
    fileBytes: () => opened?.file.sizeBytes ?? 0,
  };
  const streams = new OpenStreams();
  addServices(server, engine, info, streams, options.progressIntervalMs ?? 600_000);
  try {
    address = `${bracketed(hostOf(listen))}:${await bind(server, listen, options)}`;
  } catch (error) {
    engine.close();
    throw error;
  }
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    streams.endAll();
    await shutDown(server);
    engine.close();
    clock.stop();
  };
  return { endpoint: info.endpoint(), address, close: () => (closing ??= close()) };
}

function addServices(
  server: Server,
  engine: Engine,
  info: MemberInfo,
  streams: OpenStreams,
  progressIntervalMs: number,
): void {
  const { clusterId, memberId } = info.identity;
  const headerOf: HeaderOf = (revision) => ({ clusterId, memberId, revision, raftTerm: RAFT_TERM });
  server.addService(etcd.KVService, kvHandlers(engine, headerOf));
  server.addService(etcd.WatchService, watchHandlers(engine, headerOf, streams, progressIntervalMs));
  server.addService(etcd.LeaseService, leaseHandlers(engine, headerOf, streams));
  server.addService(etcd.ClusterService, clusterHandlers(info, headerOf));
  server.addService(etcd.MaintenanceService, maintenanceHandlers(engine, info, headerOf));
}

function configOf({
  keepRevisions = 10_000,
  quotaBytes = 256 * 1024 * 1024,
  ...options
}: EtcdServerOptions): StoreConfig {
  return {
    keepRevisions,
    quotaBytes,
    ...(options.keepMs !== undefined && { keepMs: options.keepMs }),
    ...(options.minLeaseTtlSeconds !== undefined && { minLeaseTtlSeconds: options.minLeaseTtlSeconds }),
  };
}

function bind(server: Server, listen: string, { tls }: EtcdServerOptions): Promise<number> {
  const credentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(
          Buffer.from(tls.ca),
          [{ cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) }],
          true,
        );
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, credentials, (error, port) => {
      if (error === null) resolve(port);
      else
        reject(
          new Error(`store.listen ${listen}: cannot listen there (${reasonOf(error)}); give another address`, {
            cause: error,
          }),
        );
    });
  });
}

function reasonOf(error: Error): string {
  if (error.message.includes('EADDRINUSE')) return 'another process uses the port';
  if (error.message.includes('EACCES')) return 'no permission';
  return error.message.split('\n', 1)[0] ?? '';
}

/** Lets calls end for a moment, then ends them. */
async function shutDown(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    const limit = setTimeout(() => server.forceShutdown(), CLOSE_LIMIT_MS);
    server.tryShutdown(() => {
      clearTimeout(limit);
      resolve();
    });
  });
}

function hostOf(listen: string): string {
  const colon = listen.lastIndexOf(':');
  return (colon < 0 ? listen : listen.slice(0, colon)).replace(/^\[|\]$/g, '');
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}
