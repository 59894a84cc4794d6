import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { findTools } from '../../src/config.ts';
import { Deployment } from '../../src/deployment.ts';
import type { ProxyPart } from '../../src/deployment.ts';
import { DOMAIN, FIRST_PROXIES, LEAVES } from '../../src/layout.ts';
import { Observer, allClaimed } from '../../src/observer.ts';
import { Recorder } from './recorder.ts';

const MESH_DEADLINE_MS = 20_000;
const COMMAND_LIMIT_MS = 45_000;
const OUTPUT_LIMIT_BYTES = 16_777_216;

export interface Outcome {
  /** -1 when it was ended by a signal or the deadline. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The demo's deployment with every root proxy claimed, its files and its log lines. */
export class RunningDemo {
  readonly directory: string;
  readonly recorder: Recorder;
  readonly deployment: Deployment;

  private constructor(directory: string, recorder: Recorder, deployment: Deployment) {
    this.directory = directory;
    this.recorder = recorder;
    this.deployment = deployment;
  }

  static async start(): Promise<RunningDemo> {
    const directory = mkdtempSync(join(tmpdir(), 'xylem-e2e-'));
    const recorder = new Recorder();
    const tools = findTools();
    const deployment = await Deployment.prepare({ directory, preferDefaults: false, tools, onLine: recorder.take });
    await deployment.start();
    const observer = new Observer(deployment.user, deployment.doors.access, DOMAIN);
    const { reached } = await observer.until(allClaimed(FIRST_PROXIES, LEAVES), MESH_DEADLINE_MS);
    assert.ok(reached, 'every root proxy is claimed');
    return new RunningDemo(directory, recorder, deployment);
  }

  async stop(): Promise<void> {
    await this.deployment.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  proxy(id: string): ProxyPart {
    const part = this.deployment.proxies.get(id);
    assert.ok(part);
    return part;
  }

  /** A file of one part of the deployment, such as `p1` or `berlin-a1`. */
  fileOf(part: string, name: 'ca.pem' | 'cert.pem' | 'key.pem' | 'config.yaml'): string {
    return join(this.directory, part, name);
  }

  configOf(part: string): Readonly<Record<string, unknown>> {
    const config: unknown = parse(readFileSync(this.fileOf(part, 'config.yaml'), 'utf8'));
    assert.ok(typeof config === 'object' && config !== null);
    return { ...config };
  }
}

/** Runs a program to its end, for at most 45 s. Never rejects. */
export function run(command: string, args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { timeout: COMMAND_LIMIT_MS, maxBuffer: OUTPUT_LIMIT_BYTES };
    execFile(command, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, stdout, stderr: error === null || stderr !== '' ? stderr : error.message });
    });
  });
}

/** What a program prints that has to succeed. */
export async function output(command: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(command, args);
  assert.equal(code, 0, `${command} ${args.join(' ')}: ${stderr}`);
  return stdout;
}
