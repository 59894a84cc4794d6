import { GUARDS, explore, wander } from '@xylem/simulator';
import type { Exploration, Guard, GuardName, Story, Walked } from '@xylem/simulator';
import { writeTable } from './document.ts';

/** Runs of chance beyond what the search exhausts. */
const WALKS = 20_000;
/** A guard is missed well before; one that others cover is looked for in so many states. */
const GUARD_STATES = 100_000;

export interface ExploreRun {
  /** Leave this guard out, and show the shortest way to what breaks. */
  readonly without: GuardName | undefined;
  /** States to visit, at most. */
  readonly states: number;
  readonly json: boolean;
}

interface Timed<T> {
  readonly result: T;
  readonly seconds: number;
}

function timed<T>(work: () => T): Timed<T> {
  const started = performance.now();
  return { result: work(), seconds: (performance.now() - started) / 1_000 };
}

/** `npm run sim -- --explore`. False when the protocol breaks a promise, or a guard that ought to be missed is not. */
export function runExplorer({ without, states, json }: ExploreRun): boolean {
  const guard = GUARDS.find(({ name }) => name === without);
  return guard === undefined ? exploreAll(states, json) : exploreWithout(guard, states, json);
}

function exploreWithout(guard: Guard, maxStates: number, json: boolean): boolean {
  const { result, seconds } = timed(() => explore({ without: guard.name, maxStates }));
  if (json) console.log(text({ without: guard.name, seconds, ...result }));
  else {
    console.log(`without ${guard.name}: ${guard.what}`);
    for (const line of describe(result, seconds)) console.log(line);
    if (result.found === undefined && guard.covered !== undefined) console.log(`as expected: ${guard.covered}`);
  }
  return (result.found === undefined) === (guard.covered !== undefined);
}

function exploreAll(maxStates: number, json: boolean): boolean {
  const whole = timed(() => explore({ maxStates }));
  if (!json) for (const line of describe(whole.result, whole.seconds)) console.log(line);
  const walked = timed(() => wander({ walks: WALKS }));
  if (!json) for (const line of describeWalk(walked)) console.log(line);
  const guards = GUARDS.map((guard) => ({
    guard,
    ...timed(() => explore({ without: guard.name, maxStates: GUARD_STATES })),
  }));
  const rows = [...summary(whole, walked), '', ...guardTable(guards)];
  if (json) {
    const missed = guards.map(({ guard, result, seconds }) => ({ without: guard.name, seconds, ...result }));
    console.log(text({ product: { seconds: whole.seconds, ...whole.result }, walks: walked.result, guards: missed }));
  } else for (const row of rows) console.log(row);
  writeTable('explored', rows);
  const asExpected = guards.every(
    ({ guard, result }) => (result.found === undefined) === (guard.covered !== undefined),
  );
  return whole.result.found === undefined && walked.result.found === undefined && asExpected;
}

function describe({ strata, states, transitions, found }: Exploration, seconds: number): readonly string[] {
  const rate = Math.round(states / Math.max(seconds, 0.001));
  return [
    ...strata.map(
      (stratum) =>
        `with ${String(stratum.faults)} faults: ${count(stratum.states)} states, ${stratum.complete ? 'all there are' : `all within ${String(stratum.depth - 1)} steps`}`,
    ),
    `${count(states)} states, ${count(transitions)} transitions, ${seconds.toFixed(1)} s, ${count(rate)} states a second`,
    ...verdict(found),
  ];
}

function describeWalk({ result, seconds }: Timed<Walked>): readonly string[] {
  return [
    `${count(result.walks)} runs of chance with up to 6 faults and 4 tunnels: ${count(result.steps)} steps, ${seconds.toFixed(1)} s`,
    ...verdict(result.found),
  ];
}

function verdict(found: Story | undefined): readonly string[] {
  if (found === undefined) return ['no violation'];
  return [`BROKEN ${found.violation.promise}: ${found.violation.detail}`, ...found.lines];
}

function summary(whole: Timed<Exploration>, walked: Timed<Walked>): readonly string[] {
  const rows = whole.result.strata.map(
    ({ faults, states, transitions, depth, complete }) =>
      `| ${String(faults)} | ${count(states)} | ${count(transitions)} | ${complete ? `all (${String(depth)} steps)` : `all within ${String(depth - 1)} steps`} | ${whole.result.found === undefined ? 'none' : whole.result.found.violation.promise} |`,
  );
  const { walks, steps, found } = walked.result;
  return [
    '| faults in one run | states | transitions | visited | violation |',
    '|---|---|---|---|---|',
    ...rows,
    `| up to 6, by chance | ${count(walks)} runs | ${count(steps)} | up to 60 steps | ${found === undefined ? 'none' : found.violation.promise} |`,
    '',
    `The search took ${whole.seconds.toFixed(1)} s, the runs of chance ${walked.seconds.toFixed(1)} s.`,
  ];
}

function guardTable(guards: readonly ({ readonly guard: Guard } & Timed<Exploration>)[]): readonly string[] {
  const rows = guards.map(({ guard, result }) => {
    const { found, states } = result;
    const cells =
      found === undefined
        ? [`nothing: ${guard.covered ?? 'NOT FOUND'}`, count(states), '']
        : [
            `${found.violation.promise}: ${found.violation.detail}`,
            count(states),
            `${String(found.steps)}, ${found.faults === 1 ? 'one of them a fault' : `${String(found.faults)} of them faults`}`,
          ];
    return `| \`${guard.name}\`: ${guard.what} | ${cells.join(' | ')} |`;
  });
  return ['| guard left out | what breaks | states until then | steps |', '|---|---|---|---|', ...rows];
}

function count(number: number): string {
  return number.toLocaleString('en-US');
}

function text(data: unknown): string {
  return JSON.stringify(data, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
}
