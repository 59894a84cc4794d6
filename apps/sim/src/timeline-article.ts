import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Timeline } from '@xylem/simulator';
import { escapeHtml } from './timeline-html.ts';
import { renderPage } from './timeline-page.ts';
import type { AxisTick } from './timeline-page.ts';
import { parseScenario, readAgent, stretchesOf } from './timeline-scenario.ts';
import type { Scenario, Step } from './timeline-scenario.ts';

const SCENARIOS = new URL('../../../libs/discovery/scenarios/', import.meta.url);

/** Draws the article's timetables, one HTML file each, into `folder`, which is made. */
export function writeArticle(folder: string): boolean {
  mkdirSync(folder, { recursive: true });
  const files = readdirSync(SCENARIOS).filter((file) => file.startsWith('article-'));
  for (const file of files.sort()) {
    const path = join(folder, file.replace('.txt', '.html'));
    writeFileSync(path, drawScenario(file.replace('.txt', ''), readFileSync(new URL(file, SCENARIOS), 'utf8')));
    console.log(path);
  }
  return true;
}

/** The page of one golden scenario of an agent: a timetable, each row one step. Throws when `text` is no such scenario. */
export function drawScenario(name: string, text: string): string {
  const scenario = parseScenario(text);
  const agent = readAgent(scenario);
  const { steps, options, about } = scenario;
  const timeline: Timeline = {
    endMs: steps.length,
    agents: [agent],
    proxies: [],
    registries: [],
    store: [],
    storeEvents: [],
    faults: [],
    stretches: stretchesOf(scenario),
    violations: [],
  };
  const timeOf = (step: number): string => `${String(steps[Math.min(Math.floor(step), steps.length - 1)]?.ms ?? 0)} ms`;
  const last = steps.at(-1);
  const stuck = [...(last?.pool ?? [])].filter(([, { state }]) => state === 'seeking' || state === 'backoff');
  return renderPage({
    title: name.replaceAll('-', ' ').replace(/^./, (first) => first.toUpperCase()),
    lead: about,
    verdict:
      stuck.length === 0
        ? { kept: true, text: 'every live root proxy is claimed' }
        : { kept: false, text: `stuck: still seeks ${stuck.map(([proxy]) => proxy).join(', ')}` },
    facts: [
      ['protocol', options.get('strategy') ?? 'stamped'],
      ['steering', options.get('strategy') === 'naive' ? 'off' : (options.get('steering') ?? 'sni')],
      ['dials', String(agent.dials.length)],
      ['discovery requests heard', String(agent.gossip.length)],
    ],
    timeline,
    style: { instant: timeOf, span: (from, to) => `${timeOf(from)} to ${timeOf(to)}`, scale: 1.75, labelled: true },
    ticks: ticksOf(steps),
    linear: false,
    zooms: [1],
    below: `${table(scenario)}\n<p class="foot">One column for each step; the distance between them says nothing. Drawn from <code>libs/discovery/scenarios/${escapeHtml(name)}.txt</code>, which a test compares with what the code does.</p>`,
  });
}

/** A label for each step that is not at the time of the one before it. */
function ticksOf(steps: readonly Step[]): readonly AxisTick[] {
  return steps.flatMap(({ ms }, index) =>
    index > 0 && steps[index - 1]?.ms === ms ? [] : [{ at: index, label: String(ms), minor: false }],
  );
}

function table({ steps }: Scenario): string {
  const rows = steps.map(({ ms, comment, event, poolText, effects }) => {
    const head = comment === '' ? '' : `<tr class="comment"><td></td><td colspan="3">${escapeHtml(comment)}</td></tr>`;
    const cells = [String(ms), event === '-' ? '(a deadline passes)' : event, poolText, effects];
    return `${head}<tr>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`;
  });
  const names = ['ms', 'what happens', 'what the agent knows', 'what it does'];
  return `<details class="card" open><summary>The timetable</summary><table class="steps"><thead><tr>${names.map((each) => `<th scope="col">${each}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></details>`;
}
