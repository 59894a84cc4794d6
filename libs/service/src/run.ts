import { writeSync } from 'node:fs';
import { constants } from 'node:os';
import type { ConfigOutcome } from './config.ts';
import { printable } from './problem.ts';

/** Exit statuses of every program of the product; 70 is EX_SOFTWARE of sysexits.h. */
export const EXIT = { ok: 0, operating: 1, configuration: 2, internal: 70 } as const;

/** Cannot run for a reason outside the program: port taken, store unreachable. The message names the thing and the remedy. */
export class OperatingError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'OperatingError';
  }
}

/** A service that is up. */
export interface RunningService {
  /** Leaves in order: announces, lets open work finish, closes everything. Called once. */
  stop(): Promise<void>;
  /** Resolves when the service cannot go on by itself; the error's message goes to stderr and the exit status is 1. */
  readonly failed?: Promise<Error>;
}

export interface ServiceOptions<Config> {
  /** Name of the executable, for messages. */
  readonly name: string;
  readonly load: () => ConfigOutcome<Config>;
  /** Rejects with an error whose message is one clear line; nothing else is printed. */
  readonly start: (config: Config) => Promise<RunningService>;
  /**
   * Whether a failed start is the configuration's fault, or that of a file it names: then the exit status is 2, and starting again
   * cannot help. Default: never.
   */
  readonly isConfiguration?: (error: unknown) => boolean;
  /** How long `stop` may take before the process ends anyway, with status 1. Default 40_000, above the default drain deadline. */
  readonly stopDeadlineMs?: (config: Config) => number;
}

const STOP_DEADLINE_MS = 40_000;
const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/**
 * The whole life of a service's process: configuration, start, signals, stop, exit status. The first SIGINT or SIGTERM
 * stops in order, the second ends at once with 128 + signal number. Never returns while the service runs; ends the process.
 */
export async function runService<Config>(options: ServiceOptions<Config>): Promise<never> {
  trapBugs(options.name);
  const outcome = options.load();
  if (outcome.kind === 'shown') return leave(EXIT.ok, 1, outcome.text);
  if (outcome.kind === 'invalid') return leave(EXIT.configuration, 2, outcome.text);
  const stopWanted = trapStop(outcome.exitOnStdinEnd);
  let service: RunningService;
  try {
    service = await Promise.race([options.start(outcome.config), stopWanted.then(() => undefined)]).then((started) => {
      // Asked to stop while starting: nothing is open to users yet.
      return started ?? process.exit(EXIT.ok);
    });
  } catch (error) {
    return failed(options.name, error, options.isConfiguration?.(error) === true ? EXIT.configuration : EXIT.operating);
  }
  const ending = await Promise.race([stopWanted, service.failed ?? never()]);
  if (ending instanceof Error) return failed(options.name, ending);
  return stop(options.name, service, options.stopDeadlineMs?.(outcome.config) ?? STOP_DEADLINE_MS);
}

async function stop(name: string, service: RunningService, deadlineMs: number): Promise<never> {
  const deadline = Promise.withResolvers<'late'>();
  const timer = setTimeout(() => deadline.resolve('late'), deadlineMs);
  try {
    const result = await Promise.race([service.stop(), deadline.promise]);
    clearTimeout(timer);
    if (result === 'late') return leave(EXIT.operating, 2, `${name}: did not stop within ${deadlineMs} ms\n`);
  } catch (error) {
    return failed(name, error);
  }
  return process.exit(EXIT.ok);
}

/** Resolves at the first signal (or the end of standard input); the second signal ends the process. */
function trapStop(exitOnStdinEnd: boolean): Promise<'stop'> {
  const { promise, resolve } = Promise.withResolvers<'stop'>();
  let signals = 0;
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      signals += 1;
      if (signals > 1) process.exit(128 + constants.signals[signal]);
      resolve('stop');
    });
  }
  if (exitOnStdinEnd) {
    process.stdin.on('end', () => resolve('stop'));
    process.stdin.on('error', () => resolve('stop'));
    process.stdin.resume();
  }
  return promise;
}

/** Our own bugs end the process with one JSON line, like every other log line, on stderr. */
function trapBugs(name: string): void {
  const report = (event: string) => (error: unknown) => {
    const shown = error instanceof Error ? { error: error.message, stack: error.stack } : { error: String(error) };
    const line = { time: new Date().toISOString(), level: 'fatal', service: name, event, ...shown };
    leave(EXIT.internal, 2, `${JSON.stringify(line)}\n`);
  };
  process.on('uncaughtException', report('process.uncaught_exception'));
  process.on('unhandledRejection', report('process.unhandled_rejection'));
}

function failed(name: string, error: unknown, status: number = EXIT.operating): never {
  const isBug = !(error instanceof Error) || error instanceof TypeError || error instanceof ReferenceError;
  const message = error instanceof Error ? error.message : String(error);
  const stack = isBug && error instanceof Error ? `\n${error.stack ?? ''}` : '';
  return leave(isBug ? EXIT.internal : status, 2, `${name}: ${printable(message)}${stack}\n`);
}

/** Writes synchronously, so that nothing is lost when the process ends with the next statement. */
function leave(status: number, descriptor: 1 | 2, text: string): never {
  try {
    writeSync(descriptor, text);
  } catch {
    // Whoever would have read it is gone.
  }
  process.exit(status);
}

function never(): Promise<never> {
  return new Promise<never>(() => {});
}
