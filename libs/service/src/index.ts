export { commonKeys, LOG_LEVELS, tlsKeys, withCredentials } from './common.ts';
export { loadConfig } from './config.ts';
export type { ConfigInput, ConfigOutcome, ConfigSpec } from './config.ts';
export { printable } from './problem.ts';
export type { ConfigProblem } from './problem.ts';
export { EXIT, OperatingError, runService } from './run.ts';
export type { RunningService, ServiceOptions } from './run.ts';
export {
  address,
  domainName,
  durationMs,
  httpUrl,
  listenAddress,
  name,
  parseHostPort,
  readableFile,
} from './schemas.ts';
export type { HostPort } from './schemas.ts';
