import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { EVENT } from '@xylem/telemetry';
import { childEnvironment } from '../../src/config.ts';
import type { ProxyPart } from '../../src/deployment.ts';
import { ECHO_PORT } from '../../src/layout.ts';
import { ownProgram } from '../../src/paths.ts';
import { Service } from '../../src/processes/service.ts';
import type { NoiseKind } from '../../bench/processes/noise-kinds.ts';
import { Rig } from './rig.ts';

/** What somebody else's connection felt for a while. */
export interface Felt {
  readonly exchanges: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** What a noise came to, by what it does: bytes echoed, connections made, dials refused, ... */
export type NoiseDone = Readonly<Record<string, number>>;

const DEADLINE_MS = 30_000;
/** A noise needs this long to be at its loudest. */
const WARM_UP_MS = 1_500;
const QUIET = 'berlin';
const NOISY = 'mallory';

/**
 * A root proxy with two leaf clusters: one whose users take all they can, one with a connection that is watched. Users and nodes are
 * processes of their own, so that what is measured is the product and the machine.
 */
export class Neighbours {
  readonly rig: Rig;
  readonly proxy: ProxyPart;
  /** Where the agents' metrics are, by leaf cluster. */
  readonly agentOps: ReadonlyMap<string, string>;
  readonly #helpers: Service[] = [];
  #probe: Service | undefined;

  private constructor(rig: Rig, proxy: ProxyPart, agentOps: ReadonlyMap<string, string>) {
    this.rig = rig;
    this.proxy = proxy;
    this.agentOps = agentOps;
  }

  static async start(): Promise<Neighbours> {
    const rig = await Rig.create();
    await rig.startRegistry();
    const proxy = await rig.startProxy('p1');
    const agentOps = new Map<string, string>();
    const neighbours = new Neighbours(rig, proxy, agentOps);
    for (const leaf of [QUIET, NOISY]) {
      const [echo, http, ops] = [await rig.freeAddress(), await rig.freeAddress(), await rig.freeAddress()];
      agentOps.set(leaf, ops);
      await neighbours.#help(`${leaf}/nodes`, ownProgram('processes/nodes.ts'), ['--echo', echo, '--http', http]);
      await rig.startAgent(leaf, 'a1', { root: proxy.addresses.tunnel, echo, ops });
      const recorded = (): true | undefined =>
        rig.recorder.events(EVENT.claimRecorded, `${leaf}/a1`).length > 0 ? true : undefined;
      await rig.recorder.until(`${leaf} has its claim`, recorded, DEADLINE_MS);
    }
    const probe = ['--front-door', proxy.addresses.frontDoor, '--node', nodeOf(QUIET)];
    neighbours.#probe = await neighbours.#help('probe', program('probe.ts'), probe);
    return neighbours;
  }

  /** What the quiet leaf cluster's connection feels for so long while nothing else happens. */
  async quiet(forMs: number): Promise<Felt> {
    await this.#felt();
    await pause(forMs);
    return this.#felt();
  }

  /** The same beside a noise that has become loud. */
  async noisy(kinds: readonly NoiseKind[], forMs: number): Promise<{ readonly felt: Felt; readonly done: NoiseDone }> {
    const { frontDoor, tunnel } = this.proxy.addresses;
    const args = ['--front-door', frontDoor, '--tunnel', tunnel, '--node', nodeOf(NOISY), '--kinds', kinds.join(',')];
    const noise = await this.#help('noise', program('noise.ts'), args);
    await pause(WARM_UP_MS);
    const felt = await this.quiet(forMs);
    const done = await this.#ask(noise, 'noise.ended', () => noise.endInput());
    await noise.exited;
    return { felt, done };
  }

  async close(): Promise<void> {
    await Promise.all(this.#helpers.map((helper) => helper.stop(1_000)));
    await this.rig.close();
  }

  async #felt(): Promise<Felt> {
    const probe = this.#probe;
    if (probe === undefined) throw new Error('there is no probe');
    const {
      exchanges = 0,
      p50Ms = 0,
      p99Ms = 0,
      maxMs = 0,
    } = await this.#ask(probe, 'probe.measured', () => probe.tell('.'));
    return { exchanges, p50Ms, p99Ms, maxMs };
  }

  /** The numbers of the line with which a helper answers. */
  async #ask(helper: Service, event: string, ask: () => void): Promise<NoiseDone> {
    const since = performance.now();
    ask();
    const answered = (): Readonly<Record<string, unknown>> | undefined =>
      this.rig.recorder.events(event, helper.name, since).at(0)?.fields;
    const fields = await this.rig.recorder.until(`${helper.name} says ${event}`, answered, DEADLINE_MS);
    return Object.fromEntries(
      Object.entries(fields).flatMap(([name, value]) => (typeof value === 'number' ? [[name, value]] : [])),
    );
  }

  async #help(name: string, path: string, args: readonly string[]): Promise<Service> {
    const since = performance.now();
    const { folder, recorder } = this.rig;
    const logFile = join(folder, `${name.replace('/', '-')}.jsonl`);
    const spec = { name, command: process.execPath, args: [path, ...args], env: childEnvironment(), logFile };
    const helper = new Service(spec, recorder.take);
    this.#helpers.push(helper);
    const ready = (): true | undefined =>
      recorder.events(EVENT.serviceReady, name, since).length > 0 ? true : undefined;
    await recorder.until(`${name} is ready`, ready, DEADLINE_MS);
    return helper;
  }
}

function nodeOf(leaf: string): string {
  return `echo.${leaf}:${ECHO_PORT}`;
}

function program(name: string): string {
  return fileURLToPath(new URL(`../../bench/processes/${name}`, import.meta.url));
}
