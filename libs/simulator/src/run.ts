import { BALANCER_POLICIES, FAIR_POLICIES } from './balancer.ts';
import type { BalancerPolicy } from './balancer.ts';
import { Chaos } from './chaos.ts';
import { Checkers } from './checkers.ts';
import type { Violation } from './checkers.ts';
import { planFaults } from './faults.ts';
import type { Fault } from './faults.ts';
import { advance, converge, watchQuiet } from './phases.ts';
import type { Run } from './phases.ts';
import { KeyedRandom } from './random.ts';
import { Reached } from './situations.ts';
import type { TraceLine } from './trace.ts';
import { World } from './world.ts';
import type { WorldOptions } from './world.ts';

/** Faults strike until here, virtual milliseconds. */
const CHAOS_MS = 60_000;
export type Overrides = Pick<WorldOptions, 'cores' | 'leafConfig' | 'rootConfig'>;

export interface RunOptions {
  readonly seed: number;
  readonly keepTrace?: boolean;
  /** In place of the seed's own: for replays of smaller failures. */
  readonly faults?: readonly Fault[];
  readonly balancer?: BalancerPolicy;
  /** Changes what the seed stands for: other strategies, planted bugs. */
  readonly overrides?: Overrides;
  /** Told the world before its first step; what it returns is called after each. It must not touch anything. */
  readonly observe?: (world: World) => () => void;
}

export interface RunReport {
  readonly seed: number;
  readonly balancer: BalancerPolicy;
  readonly steering: 'sni' | 'off';
  readonly faults: readonly Fault[];
  readonly violation: Violation | undefined;
  /** Virtual milliseconds from healing until all was as promised. */
  readonly convergedMs: number | undefined;
  readonly dials: number;
  readonly quietDials: number;
  readonly steps: number;
  readonly hash: string;
  /** Names of the situations that came up. */
  readonly reached: readonly string[];
  readonly trace: readonly TraceLine[];
}

/** The deployment that a seed stands for. */
export function worldOf(options: RunOptions): WorldOptions {
  const random = new KeyedRandom(options.seed, 'options');
  const balancer = options.balancer ?? random.pick('balancer', BALANCER_POLICIES);
  // Unsteered discovery is promised under fair balancers only (L1).
  const steering = FAIR_POLICIES.has(balancer) && random.chance('unsteered', 0.3) ? 'off' : 'sni';
  return {
    seed: options.seed,
    registries: random.integer('registries', 1, 3),
    proxies: random.integer('proxies', 1, 5),
    leaves: Object.fromEntries(
      ['berlin', 'tokyo'].slice(0, random.integer('leaves', 1, 2)).map((leaf) => [leaf, random.integer(leaf, 1, 3)]),
    ),
    balancer,
    steering,
    drift: random.between('drift', 0, 2e-4),
    ...options.overrides,
    ...(options.keepTrace === undefined ? {} : { keepTrace: options.keepTrace }),
  };
}

/** One seed from start to verdict. Pure: the same options give the same report. */
export function simulate(options: RunOptions): RunReport {
  const shape = worldOf(options);
  const world = new World(shape);
  const faults = options.faults ?? planFaults(options.seed, CHAOS_MS);
  const chaos = new Chaos(world, faults);
  const checkers = new Checkers(world);
  const reached = new Reached();
  world.trace.onLine = (line) => reached.see(line);
  const run: Run = { world, chaos, checkers, observe: options.observe?.(world) };
  let convergedMs: number | undefined;
  let quietDials = 0;
  try {
    advance(run, CHAOS_MS);
    chaos.heal();
    convergedMs = converge(run, shape.steering);
    if (checkers.violation === undefined) quietDials = watchQuiet(run);
  } catch (error) {
    checkers.fail(
      'no assertion fails',
      error instanceof Error ? `${error.message} ${error.stack ?? ''}` : String(error),
    );
  }
  return {
    seed: options.seed,
    balancer: shape.balancer,
    steering: shape.steering,
    faults,
    violation: checkers.violation,
    convergedMs,
    dials: totalDials(world),
    quietDials,
    steps: world.scheduler.steps,
    hash: world.trace.hash,
    reached: reached.names,
    trace: world.trace.lines,
  };
}

function totalDials(world: World): number {
  return [...world.agents.values()].reduce((sum, agent) => sum + agent.dialsMade, 0);
}
