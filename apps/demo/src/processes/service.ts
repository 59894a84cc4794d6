import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import type { WriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

/** One line of a service's log. */
export interface LogLine {
  readonly service: string;
  readonly event: string;
  readonly level: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface ServiceSpec {
  /** Shown to people: `p1`, `berlin/a1`, `registry`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Everything it prints goes here, too. */
  readonly logFile: string;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process did not do what it was started for; the message ends with its last log lines. */
export class ServiceFailure extends Error {}

const TAIL_LINES = 12;
const TROUBLE_LINES = 5;
const LOUD: ReadonlySet<string> = new Set(['warn', 'error', 'fatal']);
const LINE_LENGTH_MAX = 400;

/**
 * A real process of the deployment. Its standard input is a pipe from us that nothing is written to without need: when we
 * end, however we end, it closes, and the process stops by itself. It has a process group of its own, so that the
 * terminal's Ctrl-C reaches us only.
 */
export class Service {
  readonly name: string;
  readonly pid: number;
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  readonly #log: WriteStream;
  readonly #tail: string[] = [];
  readonly #troubles: string[] = [];
  #exit: Exit | undefined;

  constructor(spec: ServiceSpec, onLine: (line: LogLine) => void) {
    this.name = spec.name;
    this.#log = createWriteStream(spec.logFile, { flags: 'a', mode: 0o600 });
    const child = spawn(spec.command, spec.args, { stdio: ['pipe', 'pipe', 'pipe'], env: spec.env, detached: true });
    this.#child = child;
    this.pid = child.pid ?? 0;
    // A process that is gone closes its end first.
    child.stdin.on('error', () => {});
    this.#read(child.stdout, onLine);
    this.#read(child.stderr, onLine);
    this.exited = new Promise((resolve) => {
      const settle = (exit: Exit): void => {
        this.#exit = exit;
        resolve(exit);
      };
      child.once('error', (error) => {
        this.#tail.push(error.message);
        settle({ code: null, signal: null });
      });
      child.once('close', (code, signal) => {
        this.#log.end();
        settle({ code, signal });
      });
    });
  }

  /** Set once the process has ended. */
  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** One line to a process that takes commands. */
  tell(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Its standard input ends: for a program that stops by that. */
  endInput(): void {
    this.#child.stdin?.end();
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#exit === undefined) this.#child.kill(signal);
  }

  /** SIGTERM, and SIGKILL to what is left of its group after the deadline. */
  async stop(deadlineMs: number): Promise<Exit> {
    this.kill('SIGTERM');
    const timer = setTimeout(() => this.kill('SIGKILL'), deadlineMs);
    const exit = await this.exited;
    clearTimeout(timer);
    return exit;
  }

  /** Its last lines, indented, for a message. */
  tail(): string {
    return this.#tail.length === 0 ? `  ${this.name} printed nothing` : this.#indented(this.#tail);
  }

  /** Its last warnings and errors, indented; empty when there were none. */
  troubles(): string {
    return this.#indented(this.#troubles);
  }

  failure(what: string): ServiceFailure {
    return new ServiceFailure(`${this.name} ${what}\n${this.tail()}`);
  }

  #indented(lines: readonly string[]): string {
    return lines.map((line) => `  ${this.name} | ${line}`).join('\n');
  }

  #read(stream: Readable, onLine: (line: LogLine) => void): void {
    const lines = createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY });
    lines.on('line', (text) => {
      this.#log.write(`${text}\n`);
      const line = parseLine(this.name, text);
      const shown = text.length > LINE_LENGTH_MAX ? `${text.slice(0, LINE_LENGTH_MAX)}...` : text;
      keep(this.#tail, shown, TAIL_LINES);
      if (LOUD.has(line.level)) keep(this.#troubles, shown, TROUBLE_LINES);
      onLine(line);
    });
  }
}

function keep(lines: string[], line: string, limit: number): void {
  lines.push(line);
  if (lines.length > limit) lines.shift();
}

export function describeExit({ code, signal }: Exit): string {
  if (signal !== null) return `ended by ${signal}`;
  return code === null ? 'could not be started' : `ended with status ${code}`;
}

/** A JSON log line, or plain text of a program that is not ours. */
function parseLine(service: string, text: string): LogLine {
  const parsed = parseJson(text);
  if (parsed === undefined) return { service, event: '', level: 'info', fields: { text } };
  const { event, level, time: _time, service: _service, instance: _instance, ...fields } = parsed;
  return {
    service,
    event: typeof event === 'string' ? event : '',
    level: typeof level === 'string' ? level : 'info',
    fields,
  };
}

function parseJson(text: string): Record<string, unknown> | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
