import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { Duplex } from 'node:stream';
import type { GrpcServer, HandlerContext, MethodBinding, ServerFault, ServerOptions } from './api.ts';
import { addHttp2Options, http2ServerOf } from './grpc-internals.ts';
import { Health } from './health.ts';
import { Listener } from './listener.ts';
import { DEFAULTS, serverGrpcOptions, serverHttp2Options } from './options.ts';
import { RefreshService } from './refresh-service.ts';
import { reflectionBindings } from './reflection.ts';
import { Sessions } from './sessions.ts';
import { guardJsStreams } from './js-stream-guard.ts';

/** See GrpcServer. Nothing is accepted before `listen` or `inject`; health says NOT_SERVING until `setServing(true)`. */
export function createServer(options: ServerOptions): GrpcServer {
  guardJsStreams();
  const onFault = (fault: ServerFault): void => options.onError?.(fault);
  const handshakeTimeoutMs = options.handshakeTimeoutMs ?? DEFAULTS.handshakeTimeoutMs;
  const server = new Server(serverGrpcOptions(options));
  addHttp2Options(server, serverHttp2Options(options));
  const health = bindServices(server, options, onFault);

  // grpc-js gets connections that are verified already, hence its insecure credentials.
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const sessions = new Sessions(http2ServerOf(server), {
    settingsTimeoutMs: handshakeTimeoutMs,
    adaptWindows: options.streamWindowBytes === undefined,
    lifetime: options.lifetime,
    admit: options.admit,
    onFault,
  });
  const listener = new Listener({
    tls: options.tls,
    requireClientCertificate: options.requireClientCertificate ?? true,
    handshakeTimeoutMs,
    onConnection: (connection, peer) => sessions.start(peer, () => injector.injectConnection(connection)),
    onFault,
  });
  return {
    listen: (address) => listener.listen(address),
    inject: (connection: Duplex, source?: string) => listener.inject(connection, source),
    setServing: (serving) => health.setServing(serving),
    cut: (matches, detail) => sessions.cut(matches, detail),
    // Each step may come again: whoever waits with a longer limit is overtaken by a shorter one.
    async close(limitMs) {
      listener.stop();
      health.stop();
      await sessions.finish(limitMs);
      listener.destroyConnections();
      server.forceShutdown();
    },
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
  options.services.forEach(bind);
  const health = new Health(names);
  health.bindings().forEach(bind);
  if (options.tls !== undefined) bind(new RefreshService(options.tls, options.lifetime, onFault).binding());
  names.add('grpc.reflection.v1.ServerReflection').add('grpc.reflection.v1alpha.ServerReflection');
  reflectionBindings(names).forEach(bind);
  return health;
}

/** `/package.Service/Method` -> `package.Service` */
function serviceOf(path: string): string {
  return path.slice(1, path.lastIndexOf('/'));
}
