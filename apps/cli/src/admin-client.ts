import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ChannelError, StatusError, createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import { KeyFileError, fileTlsSource, readIdentityFacts } from '@xylem/identity';
import type { FileTlsSource } from '@xylem/identity';
import { parseHostPort } from '@xylem/service';
import { MAX_ANSWER_BYTES } from '@xylem/wire';
import { identityFiles } from './client.ts';
import { adminEnvironment } from './config.ts';
import { CommandError, STATUS } from './exit.ts';
import { refusal } from './status-error.ts';

/** Options that every command which administers a registry has. */
export interface AdminFlags {
  readonly adminDir?: string;
  readonly registry?: readonly string[];
  readonly domain?: string;
  readonly timeoutMs?: string;
}

/** A registry, and a call to it with a deadline. */
export interface Registry {
  readonly channel: GrpcChannel;
  readonly deadlineMs: number;
}

const DATA_DIR = '/var/lib/xylem';
const DEFAULT_REGISTRY = '127.0.0.1:7100';
const DEFAULT_DOMAIN = 'xylem.internal';
const DEFAULT_TIMEOUT_MS = 10_000;

/** gRPC's codes. */
const PERMISSION_DENIED = 7;
const UNIMPLEMENTED = 12;

/** Connects to a registry as an administrator, runs, and closes. Rejects with a CommandError that says the remedy. */
export async function withRegistry<T>(flags: AdminFlags, run: (registry: Registry) => Promise<T>): Promise<T> {
  const deadlineMs = timeoutOf(flags);
  const directory = adminDirectory(flags);
  const tls = openAdmin(directory);
  const domain = flags.domain ?? readIdentityFacts(directory)?.domain ?? DEFAULT_DOMAIN;
  const channel = createChannel({
    address: registriesOf(flags),
    tls,
    serverName: `registry.${domain}`,
    connectTimeoutMs: deadlineMs,
    maxMessageBytes: MAX_ANSWER_BYTES,
  });
  try {
    await channel.connect();
    return await run({ channel, deadlineMs });
  } catch (error) {
    throw explained(error, directory);
  } finally {
    channel.close();
    tls.close();
  }
}

function timeoutOf({ timeoutMs }: AdminFlags): number {
  if (timeoutMs === undefined) return DEFAULT_TIMEOUT_MS;
  const parsed = Number(timeoutMs);
  if (Number.isInteger(parsed) && parsed > 0 && parsed <= 600_000) return parsed;
  const quoted = JSON.stringify(timeoutMs);
  throw new CommandError(STATUS.usage, `--timeout-ms ${quoted} is not a number of milliseconds from 1 to 600000`);
}

function registriesOf({ registry }: AdminFlags): readonly string[] {
  const said = registry ?? adminEnvironment().registries ?? [DEFAULT_REGISTRY];
  const wrong = said.find((text) => (parseHostPort(text)?.port ?? 0) === 0);
  if (wrong === undefined) return said;
  const example = `write host:port, for example ${DEFAULT_REGISTRY}`;
  throw new CommandError(STATUS.usage, `--registry ${JSON.stringify(wrong)} is not an address; ${example}`);
}

/** The folder that a registry keeps for its administrator: said, or the only one on this machine. */
function adminDirectory({ adminDir }: AdminFlags): string {
  const said = adminDir ?? adminEnvironment().adminDir;
  if (said !== undefined) return said;
  const [found, ...others] = localAdminDirectories();
  if (found !== undefined && others.length === 0) return found;
  const problem =
    found === undefined
      ? `no administrator's credentials below ${DATA_DIR} that this user may read`
      : `${others.length + 1} registries keep credentials below ${DATA_DIR}`;
  const remedy = "name the folder 'admin' of the registry's data directory with --admin-dir or XYLEM_ADMIN_DIR";
  throw new CommandError(STATUS.usage, `${problem}; ${remedy}`);
}

function localAdminDirectories(): readonly string[] {
  try {
    const folders = readdirSync(DATA_DIR).map((name) => join(DATA_DIR, name, 'admin'));
    return folders.filter((folder) => existsSync(join(folder, 'cert.pem')));
  } catch {
    return [];
  }
}

function openAdmin(directory: string): FileTlsSource {
  try {
    return fileTlsSource(identityFiles(directory));
  } catch (error) {
    if (!(error instanceof KeyFileError)) throw error;
    const remedy = 'run this as the system user of the registry, or name its folder with --admin-dir';
    throw new CommandError(STATUS.usage, `administrator: ${error.message}; ${remedy}`, { cause: error });
  }
}

function explained(error: unknown, directory: string): unknown {
  if (error instanceof ChannelError) {
    const remedy = 'a registry serves administrators at port 7100; name it with --registry';
    return new CommandError(STATUS.unavailable, `${error.message}; ${remedy}`, { cause: error });
  }
  if (!(error instanceof StatusError)) return error;
  switch (error.code) {
    case UNIMPLEMENTED:
      return refusal(
        'the registry',
        error,
        'that is a root proxy, an older version, or a registry whose certificates come from elsewhere',
      );
    case PERMISSION_DENIED:
      return refusal('the registry', error, `the credentials are those of ${directory}`);
    default:
      return refusal('the registry', error);
  }
}
