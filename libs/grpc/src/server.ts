import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { Duplex } from 'node:stream';
import type { Http2Server } from 'node:http2';
import type { GrpcServer, ServerFault, ServerOptions } from './api.ts';
import { addHttp2Options, http2ServerOf } from './grpc-internals.ts';
import type { HandlerContext, MethodBinding } from './handlers.ts';
import { Health } from './health.ts';
import { Listener } from './listener.ts';
import { CONNECTION_WINDOW_BYTES, DEFAULTS, serverGrpcOptions, serverHttp2Options } from './options.ts';
import { reflectionBindings } from './reflection.ts';
import { setSessionPeer } from './server-stream.ts';
import { bindUntyped } from './untyped-service.ts';

/** See GrpcServer. Nothing is accepted before `listen` or `inject`; health says NOT_SERVING until `setServing(true)`. */
export function createServer(options: ServerOptions): GrpcServer {
  const onFault = (fault: ServerFault): void => options.onError?.(fault);
  const handshakeTimeoutMs = options.handshakeTimeoutMs ?? DEFAULTS.handshakeTimeoutMs;
  const server = new Server(serverGrpcOptions(options));
  addHttp2Options(server, serverHttp2Options(options));
  const health = bindServices(server, options, onFault);

  // grpc-js gets connections that are verified already, hence its insecure credentials.
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const adopt = adoptSessions(http2ServerOf(server), handshakeTimeoutMs, onFault);
  const listener = new Listener({
    tls: options.tls,
    requireClientCertificate: options.requireClientCertificate ?? true,
    handshakeTimeoutMs,
    onConnection: (connection, address) => adopt(address, () => injector.injectConnection(connection)),
    onFault,
  });
  let closing: Promise<void> | undefined;
  return {
    listen: (address) => listener.listen(address),
    inject: (connection: Duplex, source?: string) => listener.inject(connection, source),
    setServing: (serving) => health.setServing(serving),
    close: (limitMs) => (closing ??= close(server, listener, health, limitMs)),
  };
}

function bindServices(server: Server, options: ServerOptions, onFault: (fault: ServerFault) => void): Health {
  const context: HandlerContext = {
    maxMessageBytes: options.maxMessageBytes ?? DEFAULTS.maxMessageBytes,
    queueLimitBytes: options.queueLimitBytes ?? DEFAULTS.queueLimitBytes,
    onFault,
  };
  const names = new Set<string>();
  const bind = (binding: MethodBinding): void => {
    if (!binding.bind(server, context)) throw new Error(`two handlers for ${binding.path}; give each method one`);
    names.add(serviceOf(binding.path));
  };
  for (const service of options.services) {
    if ('path' in service) {
      bind(service);
      continue;
    }
    bindUntyped(server, service, context);
    for (const { path } of Object.values(service.definition)) names.add(serviceOf(path));
  }
  const health = new Health(names);
  health.bindings().forEach(bind);
  names.add('grpc.reflection.v1.ServerReflection').add('grpc.reflection.v1alpha.ServerReflection');
  reflectionBindings(names).forEach(bind);
  return health;
}

/** `/package.Service/Method` -> `package.Service` */
function serviceOf(path: string): string {
  return path.slice(1, path.lastIndexOf('/'));
}

/** Prepares each HTTP/2 session as it starts. Returns a function that starts one and says whose it is. */
function adoptSessions(
  http2Server: Http2Server,
  settingsTimeoutMs: number,
  onFault: (fault: ServerFault) => void,
): (address: string, start: () => void) => void {
  let starting = 'unknown';
  http2Server.on('session', (session) => {
    const { address } = setSessionPeer(session, starting);
    // Settings set the window of streams only; the connection's own is raised by a WINDOW_UPDATE.
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    const silent = setTimeout(() => {
      onFault({ kind: 'session', where: address, cause: new Error('no HTTP/2 settings before the deadline') });
      session.destroy();
    }, settingsTimeoutMs);
    session.once('remoteSettings', () => clearTimeout(silent));
    session.once('close', () => clearTimeout(silent));
    session.on('error', (cause) => onFault({ kind: 'session', where: address, cause }));
  });
  return (address, start) => {
    // Node creates the session, and emits it, within this call.
    starting = address;
    start();
    starting = 'unknown';
  };
}

async function close(server: Server, listener: Listener, health: Health, limitMs: number): Promise<void> {
  listener.stop();
  health.stop();
  const finished = Promise.withResolvers<void>();
  const limit = setTimeout(finished.resolve, limitMs);
  server.tryShutdown(() => finished.resolve());
  await finished.promise;
  clearTimeout(limit);
  listener.destroyConnections();
  server.forceShutdown();
}
