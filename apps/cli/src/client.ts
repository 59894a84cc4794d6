import { join } from 'node:path';
import { ChannelError, StatusError, createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import { KeyFileError, fileTlsSource } from '@xylem/identity';
import type { FileTlsSource, TlsFiles, TlsMaterial } from '@xylem/identity';
import { MAX_ANSWER_BYTES } from '@xylem/wire';
import type { ClientConfig } from './config.ts';
import { CommandError, STATUS } from './exit.ts';
import { refusal } from './status-error.ts';

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
      `identity: ${error.message}; log in (xylem login), or name the folder with --identity-dir`,
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

/** What to do where the port or the certificate is the wrong one; empty for other answers. */
export function remedyOf({ code }: StatusError): string {
  if (code === UNIMPLEMENTED) return 'users are served on another port (access.listen, 7202)';
  return code === PERMISSION_DENIED ? 'only users are served here: xylem login' : '';
}

function explained(error: unknown): unknown {
  if (error instanceof ChannelError) {
    return new CommandError(STATUS.unavailable, `${error.message}; try: xylem doctor`, { cause: error });
  }
  return error instanceof StatusError ? refusal('the root proxy', error, remedyOf(error)) : error;
}
