import { join } from 'node:path';
import { ChannelError, StatusError, createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import { KeyFileError, fileTlsSource } from '@xylem/identity';
import type { FileTlsSource, TlsFiles, TlsMaterial } from '@xylem/identity';
import { printable } from '@xylem/matrix';
import { MAX_ANSWER_BYTES } from '@xylem/wire';
import type { ClientConfig } from './config.ts';
import { CommandError, STATUS } from './exit.ts';

/** gRPC's codes. Whoever dials the port of another plane finds no method of ours there. */
const PERMISSION_DENIED = 7;
const UNIMPLEMENTED = 12;

/** The three files of an identity folder. */
export function identityFiles(directory: string): TlsFiles {
  return { ca: join(directory, 'ca.pem'), cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
}

/** Opens the identity. Throws a CommandError that names the file and the remedy. */
function openIdentity(config: ClientConfig): FileTlsSource {
  try {
    return fileTlsSource(identityFiles(config.identityDir));
  } catch (error) {
    if (!(error instanceof KeyFileError)) throw error;
    throw new CommandError(
      STATUS.usage,
      `identity: ${error.message}; set --identity-dir or see: xylem pki issue --help`,
      {
        cause: error,
      },
    );
  }
}

/** Connects to the first root proxy that answers, runs with the channel and the identity that was shown, and closes. */
export async function withRootProxy<T>(
  config: ClientConfig,
  run: (channel: GrpcChannel, identity: TlsMaterial) => Promise<T>,
): Promise<T> {
  const tls = openIdentity(config);
  const channel = createChannel({
    address: config.root,
    tls,
    serverName: config.domain,
    connectTimeoutMs: config.timeoutMs,
    maxMessageBytes: MAX_ANSWER_BYTES,
  });
  try {
    await channel.connect();
    return await run(channel, tls.current());
  } catch (error) {
    throw explained(error);
  } finally {
    channel.close();
    tls.close();
  }
}

/** One line for a person: the answer, and what to do where the port or the certificate is the wrong one. */
export function statusText(error: StatusError): string {
  const text = printable(error.message);
  if (error.code === UNIMPLEMENTED) return `${text}; users are served on another port (access.listen, 7202)`;
  return error.code === PERMISSION_DENIED ? `${text}; use a user's certificate: xylem pki issue user` : text;
}

function explained(error: unknown): unknown {
  if (error instanceof ChannelError) {
    return new CommandError(STATUS.unavailable, `${error.message}; try: xylem doctor`, { cause: error });
  }
  if (error instanceof StatusError) {
    const status = error.code === PERMISSION_DENIED ? STATUS.denied : STATUS.failed;
    return new CommandError(status, `the root proxy answered ${statusText(error)}`, { cause: error });
  }
  return error;
}
