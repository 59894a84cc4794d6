import { writeFileSync } from 'node:fs';
import { createAgent } from '@xylem/discovery/strategies';
import type { StrategyName } from '@xylem/discovery/strategies';
import { TimelineRecorder, simulate } from '@xylem/simulator';
import type { BalancerPolicy, RunReport, Timeline } from '@xylem/simulator';
import { IN_SECONDS } from './timeline-lanes.ts';
import { escapeHtml } from './timeline-html.ts';
import { renderPage } from './timeline-page.ts';
import type { AxisTick } from './timeline-page.ts';

export interface TimelineOptions {
  readonly seed: number;
  readonly strategy: StrategyName;
  /** In place of the one that the seed draws. */
  readonly balancer: BalancerPolicy | undefined;
}

/** Runs one seed and draws it into one HTML file. True when every promise was kept. */
export function writeTimeline(options: TimelineOptions, file: string): boolean {
  const { html, report } = drawSeed(options);
  writeFileSync(file, html);
  const { violation } = report;
  const verdict = violation === undefined ? 'every promise kept' : `${violation.promise} broken`;
  console.log(`seed ${String(options.seed)}: ${verdict}; drawn in ${file}`);
  return violation === undefined;
}

export function drawSeed({ seed, strategy, balancer }: TimelineOptions): { html: string; report: RunReport } {
  const recorder = new TimelineRecorder();
  const report = simulate({
    seed,
    ...(balancer === undefined ? {} : { balancer }),
    overrides: {
      cores: { leaf: recorder.leaf((config, host) => createAgent(strategy, config, host.random, host.now)) },
    },
    observe: (world) => recorder.observe(world),
  });
  const timeline = recorder.timeline(report);
  const asked = `--seed ${String(seed)}${strategy === 'stamped' ? '' : ` --strategy ${strategy}`}${balancer === undefined ? '' : ` --balancer ${balancer}`}`;
  return { html: drawRun(timeline, report, { strategy, asked }), report };
}

/** The page of one run of the simulator; `asked` are the flags that repeat it. */
export function drawRun(
  timeline: Timeline,
  report: RunReport,
  { strategy, asked }: { readonly strategy: StrategyName; readonly asked: string },
): string {
  const { seed, violation } = report;
  return renderPage({
    title: `Seed ${String(seed)}`,
    lead: 'A whole deployment in virtual time: leaf agents find root proxies through a load balancer and claim each of them, while things go wrong. Rows are agents and processes, colours are root proxies; point at anything for its story.',
    verdict:
      violation === undefined
        ? { kept: true, text: 'every promise kept' }
        : { kept: false, text: `${violation.promise} broken at ${(violation.at / 1000).toFixed(3)} s` },
    facts: factsOf(timeline, report, strategy),
    timeline,
    style: IN_SECONDS,
    ticks: linearTicks(timeline.endMs),
    linear: true,
    zooms: [1, 3, 10, 40, 200],
    below: `<p class="foot">Written by <code>npm run sim -- ${escapeHtml(asked)} --html FILE</code>. The same run as text: <code>npm run sim -- ${escapeHtml(asked)} --trace</code>.</p>`,
  });
}

function factsOf(
  { agents, proxies, endMs }: Timeline,
  { balancer, steering, faults, dials, hash }: RunReport,
  strategy: StrategyName,
): readonly (readonly [string, string])[] {
  const marks = agents.flatMap((agent) => agent.dials);
  const relayed = marks.filter(({ via }) => via !== undefined).length;
  const wasted = marks.filter(({ outcome }) => outcome === 'wasted').length;
  const failed = marks.filter(({ reached }) => reached === undefined).length;
  return [
    ['protocol', strategy],
    ['balancer', balancer],
    ['steering', steering],
    ['root proxies', String(proxies.length)],
    ['agents', String(agents.length)],
    ['faults', String(faults.length)],
    ['dials', `${String(dials)} (${String(relayed)} relayed, ${String(wasted)} wasted, ${String(failed)} failed)`],
    ['gossip heard', String(agents.reduce((sum, { gossip }) => sum + gossip.length, 0))],
    ['virtual time', `${(endMs / 1000).toFixed(1)} s`],
    ['trace', hash],
  ];
}

/** A label every few seconds, about a dozen in all; a second's tick between them where there is room. */
export function linearTicks(endMs: number): readonly AxisTick[] {
  const step = [1, 2, 5, 10, 20, 30, 60, 120, 300].find((each) => endMs / 1000 / each <= 15) ?? 600;
  const minor = Math.max(1, step / 10);
  const count = Math.floor(endMs / 1000 / minor);
  return Array.from({ length: count + 1 }, (_, index) => {
    const second = index * minor;
    return { at: second * 1000, label: `${String(second)} s`, minor: second % step !== 0 };
  });
}
