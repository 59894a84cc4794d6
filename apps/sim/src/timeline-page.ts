import { createHash } from 'node:crypto';
import type { Stretch, Timeline } from '@xylem/simulator';
import { LaneMaker } from './timeline-lanes.ts';
import type { ColourOf, Lane, LaneStyle } from './timeline-lanes.ts';
import { escapeHtml, percent } from './timeline-html.ts';
import type { Place } from './timeline-html.ts';
import { legend } from './timeline-legend.ts';
import { COLOURS, SCRIPT, STYLE } from './timeline-style.ts';

/** A tick of the time axis; minor ones show when there is room. */
export interface AxisTick {
  readonly at: number;
  readonly label: string;
  readonly minor: boolean;
}

/** What a page says around its picture. */
export interface Page {
  readonly title: string;
  readonly lead: string;
  readonly verdict: { readonly kept: boolean; readonly text: string };
  readonly facts: readonly (readonly [string, string])[];
  readonly timeline: Timeline;
  readonly style: LaneStyle;
  readonly ticks: readonly AxisTick[];
  /** Whether distance is time; else the axis only counts. */
  readonly linear: boolean;
  readonly zooms: readonly number[];
  /** HTML below the picture. */
  readonly below: string;
}

/** One HTML file that needs nothing else: no network, no font, no image; complete without its script. */
export function renderPage(page: Page): string {
  const policy = `default-src 'none'; style-src ${hashOf(STYLE)}; script-src ${hashOf(SCRIPT)}; base-uri 'none'; form-action 'none'`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${escapeHtml(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(page.title)}</title>
<style>${STYLE}</style>
</head>
<body>
${header(page)}
${violations(page)}
<details class="card" open><summary>Legend</summary>${legend()}</details>
${zoomTools(page.zooms)}
${picture(page)}
${page.below}
<script>${SCRIPT}</script>
</body>
</html>
`;
}

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

function header({ title, lead, verdict, facts }: Page): string {
  const shown = facts.map(([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`);
  return `<header>
<div class="head"><h1>${escapeHtml(title)}</h1><span class="verdict ${verdict.kept ? 'kept' : 'broken'}">${escapeHtml(verdict.text)}</span></div>
<p class="lead">${escapeHtml(lead)}</p>
<dl class="facts">${shown.join('')}</dl>
</header>`;
}

function violations({ timeline, style }: Page): string {
  if (timeline.violations.length === 0) return '';
  const items = timeline.violations.map(
    ({ at, promise, detail }, index) =>
      `<li><a href="#violation-${String(index)}"><strong>${escapeHtml(promise)}</strong> at ${escapeHtml(style.instant(at))}</a>: <code>${escapeHtml(detail)}</code></li>`,
  );
  return `<section class="violations"><h2>Broken promises</h2><ol>${items.join('')}</ol></section>`;
}

function zoomTools(zooms: readonly number[]): string {
  if (zooms.length < 2) return '<p id="readout" hidden></p>';
  const radios = zooms.map((zoom, index) => {
    const id = `zoom-${String(zoom)}`;
    return `<input type="radio" name="zoom" id="${id}"${index === 0 ? ' checked' : ''}><label for="${id}">${String(zoom)}&times;</label>`;
  });
  return `<fieldset class="tools"><legend hidden>Zoom</legend><span>Zoom</span>${radios.join('')}<span id="readout"></span></fieldset>`;
}

function picture(page: Page): string {
  const { timeline, linear } = page;
  const place: Place = (ms) => Math.min(1, Math.max(0, ms / Math.max(1, timeline.endMs)));
  const maker = new LaneMaker(place, page.style, colours(timeline));
  const end = linear ? ` data-end="${String(timeline.endMs)}"` : '';
  return `<div class="card scroll" tabindex="0" role="region" aria-label="Timeline"><div class="grid"${end}>
<svg class="defs" width="0" height="0" aria-hidden="true"><defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><line class="hatch-line" x1="0" x2="0" y1="0" y2="6"/></pattern></defs></svg>
${axis(page, place)}
${groups(timeline, maker)
  .map(({ title, lanes }) => group(title, lanes))
  .join('\n')}
${overlay(page, place)}
</div></div>`;
}

/** Each root proxy keeps its colour throughout. */
function colours({ proxies, agents }: Timeline): ColourOf {
  const names = new Set([
    ...proxies.map(({ name }) => name),
    ...agents.flatMap(({ entries }) => entries.map(({ proxy }) => proxy)),
  ]);
  const order = new Map([...names].map((name, index) => [name, index]));
  return (proxy) => {
    const index = order.get(proxy);
    return index === undefined ? '' : `c${String(index % COLOURS)}`;
  };
}

interface Group {
  readonly title: string;
  readonly lanes: readonly Lane[];
}

function groups(timeline: Timeline, maker: LaneMaker): readonly Group[] {
  const { faults, agents, proxies, registries, store, storeEvents } = timeline;
  const leaves = [...new Set(agents.map(({ leaf }) => leaf))];
  const rest = registries.map((lane) => maker.process(lane, 'registry'));
  if (store.length > 0 || storeEvents.length > 0) rest.push(maker.store(store, storeEvents));
  const all = [
    { title: 'What goes wrong', lanes: maker.faults(faults) },
    ...leaves.map((leaf) => ({
      title: `Leaf cluster ${leaf}: its agents, and what each holds`,
      lanes: agents.filter((agent) => agent.leaf === leaf).flatMap((agent) => maker.agent(agent)),
    })),
    { title: 'Root proxies', lanes: proxies.map((lane) => maker.process(lane, 'proxy')) },
    { title: 'Registries and store', lanes: rest },
  ];
  return all.filter(({ lanes }) => lanes.length > 0);
}

function group(title: string, lanes: readonly Lane[]): string {
  const rows = lanes.map(
    ({ label, kind, heightPx, shapes }) =>
      `<div class="row ${kind}"><span class="label">${escapeHtml(label)}</span><svg class="lane" height="${String(heightPx)}" role="group" aria-label="${escapeHtml(`${title}: ${label}`)}">${shapes.join('')}</svg></div>`,
  );
  return `<div class="row title"><span class="label">${escapeHtml(title)}</span></div>\n${rows.join('\n')}`;
}

// ---- axis and what runs through all lanes ----------------------------------------------------------------------------

/** Names of stretches that come close to each other stand one below the other. */
const NAME_HEIGHT_PX = 14;
/** Width of a letter in shares of a picture of 1,400 pixels, generously. */
const LETTER = 0.0052;

function axis({ ticks, timeline }: Page, place: Place): string {
  const { stretches, violations: broken } = timeline;
  const ends: number[] = [];
  const named = stretches.map(({ label, from }) => {
    const share = place(from);
    const width = LETTER * label.length;
    const fits = share + width <= 1;
    const start = fits ? share : share - width;
    const free = ends.findIndex((end) => end < start);
    const line = free < 0 ? ends.length : free;
    ends[line] = start + width;
    const anchor = fits ? 'x="6"' : 'x="-6" text-anchor="end"';
    const y = String(14 + line * NAME_HEIGHT_PX);
    return placed(share, `<text class="stretch-name" ${anchor} y="${y}">${escapeHtml(label)}</text>`);
  });
  const ticksY = 16 + Math.max(1, ends.length) * NAME_HEIGHT_PX;
  const labels = ticks.map(({ at: ms, label, minor }) => {
    const kind = minor ? 'minor' : 'major';
    return placed(
      place(ms),
      `<text class="${kind}" y="${String(ticksY)}" text-anchor="middle">${escapeHtml(label)}</text>`,
    );
  });
  const flags = broken.map(({ at: ms, promise }, index) => {
    const id = `violation-${String(index)}`;
    return placed(
      place(ms),
      `<text class="violation" id="${id}" y="14" text-anchor="middle">&#9660; ${escapeHtml(promise)}</text>`,
    );
  });
  const shapes = [...named, ...labels, ...flags].join('');
  return `<div class="row axis"><span class="label">time</span><svg class="lane" height="${String(ticksY + 6)}" role="group" aria-label="Time">${shapes}</svg></div>`;
}

function placed(share: number, inner: string): string {
  return `<svg x="${percent(share)}" class="at">${inner}</svg>`;
}

function overlay({ ticks, timeline: { stretches, violations: broken } }: Page, place: Place): string {
  const line = (ms: number, kind: string): string => {
    const x = percent(place(ms));
    return `<line class="${kind}" x1="${x}" x2="${x}" y1="0" y2="100%"/>`;
  };
  const shaded = stretches.filter((_, index) => index % 2 === 1).map((stretch) => shade(stretch, place));
  return `<svg class="overlay" aria-hidden="true">${[
    ...shaded,
    ...ticks.map((tick) => line(tick.at, tick.minor ? 'minor' : 'major')),
    ...stretches.filter(({ from }) => from > 0).map(({ from }) => line(from, 'edge')),
    ...broken.map(({ at: ms }) => line(ms, 'violation')),
  ].join('')}</svg>`;
}

function shade({ from, to }: Stretch, place: Place): string {
  return `<rect class="stretch" x="${percent(place(from))}" y="0" width="${percent(place(to) - place(from))}" height="100%"/>`;
}
