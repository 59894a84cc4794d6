import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { simulate } from '@xylem/simulator';
import type { Timeline } from '@xylem/simulator';
import { escapeHtml } from './timeline-html.ts';
import { drawScenario } from './timeline-article.ts';
import { drawRun, drawSeed, linearTicks } from './timeline.ts';

const VOID = new Set(['meta', 'input', '!doctype']);
/** A hostile name: every character that could leave text or an attribute. */
const HOSTILE = `"><script>alert('x')</script>&\u0007`;

/** Tags in order, nesting checked: throws where one is not closed by its own name. */
function tagsOf(html: string): readonly { readonly name: string; readonly attributes: string }[] {
  const body = html.replaceAll(/<(style|script)>[\s\S]*?<\/\1>/g, '');
  const open: string[] = [];
  const tags: { name: string; attributes: string }[] = [];
  for (const [, slash, name = '', attributes = ''] of body.matchAll(/<(\/?)([a-z!][a-z0-9]*)((?:"[^"]*"|[^">])*)>/gi)) {
    if (slash === '/') assert.equal(open.pop(), name, `</${name}>`);
    else {
      tags.push({ name, attributes });
      if (!attributes.endsWith('/') && !VOID.has(name)) open.push(name);
    }
  }
  assert.deepEqual(open, []);
  return tags;
}

/** The picture itself, without legend and overlay. */
function lanesOf(html: string): string {
  return html.slice(html.indexOf('<div class="grid"'), html.indexOf('<svg class="overlay"'));
}

function timelineOf(name: string): Timeline {
  const bar = { from: 0, to: 900 };
  return {
    endMs: 1_000,
    agents: [
      {
        name,
        leaf: name,
        life: [{ ...bar, state: 'up', note: '' }],
        entries: [{ proxy: name, bars: [{ ...bar, state: 'provisional', note: name }] }],
        dials: [{ from: 0, to: 20, target: name, replaces: true, reached: name, via: name, outcome: 'reached' }],
        gossip: [{ at: 5, from: name, changed: true, text: name }],
      },
    ],
    proxies: [{ name, life: [{ ...bar, state: 'paused', note: '' }], registered: [] }],
    registries: [],
    store: [{ ...bar, state: 'down', note: '' }],
    storeEvents: [{ at: 3, label: name }],
    faults: [{ kind: 'proxy-pause', from: 10, to: 500, detail: name }],
    stretches: [{ label: name, from: 0, to: 1_000 }],
    violations: [{ at: 400, promise: name, detail: name }],
  };
}

test('a run is drawn as one well-formed document with its agents, proxies, faults and dials', () => {
  const { html, report } = drawSeed({ seed: 7, strategy: 'stamped', balancer: undefined });
  tagsOf(html);
  const lanes = lanesOf(html);
  const count = (kind: string): number => lanes.split(`class="${kind}`).length - 1;
  assert.equal(count('row agent'), 6);
  assert.equal(count('row proxy'), 3);
  assert.equal(count('row registry'), 1);
  assert.equal(count('fault '), report.faults.length);
  assert.equal(count('dial '), report.dials);
  assert.match(html, /every promise kept/);
});

test('a drawn run is the run itself: watching changes nothing', () => {
  for (const seed of [7, 11]) {
    const { report } = drawSeed({ seed, strategy: 'stamped', balancer: undefined });
    assert.equal(report.hash, simulate({ seed }).hash);
  }
});

test('names and notes cannot leave their place', () => {
  const report = simulate({ seed: 42 });
  const html = drawRun(timelineOf(HOSTILE), report, { strategy: 'stamped', asked: HOSTILE });
  assert.equal(html.match(/<script>/g)?.length, 1);
  assert.ok(!html.includes("alert('x')"));
  assert.ok(html.includes('&quot;&gt;&lt;script&gt;'));
  assert.ok(!html.includes('\u0007'));
  tagsOf(html);
  assert.equal(escapeHtml('a\tb\n'), 'a\tb\n');
});

test('the page needs nothing from outside, and its policy allows just its own style and script', () => {
  const { html } = drawSeed({ seed: 42, strategy: 'stamped', balancer: undefined });
  assert.doesNotMatch(html, /https?:|src=|@import|url\((?!#)/);
  for (const { attributes } of tagsOf(html)) assert.doesNotMatch(attributes, /\son\w+=|\sstyle=/);
  const policy = /Content-Security-Policy" content="([^"]*)"/.exec(html)?.[1] ?? '';
  for (const part of ['style', 'script']) {
    const text = new RegExp(`<${part}>([\\s\\S]*?)</${part}>`).exec(html)?.[1] ?? '';
    const hash = createHash('sha256').update(text).digest('base64');
    assert.ok(policy.includes(`${part}-src &#39;sha256-${hash}&#39;`), part);
  }
});

test('every mark in the lanes says what it is', () => {
  const { html } = drawSeed({ seed: 7, strategy: 'stamped', balancer: undefined });
  const lanes = lanesOf(html);
  const marks = lanes.match(/class="(?:bar|tick|dial|fault) /g)?.length ?? 0;
  assert.ok(marks > 100);
  assert.equal(lanes.match(/<title>/g)?.length, marks);
});

test('a broken promise is listed, with its instant in the picture', () => {
  const { html, report } = drawSeed({ seed: 5, strategy: 'naive', balancer: undefined });
  assert.ok(report.violation);
  assert.match(html, /href="#violation-0"/);
  assert.match(html, /id="violation-0"/);
});

test('the second timetable of the article shows the agent stuck, the third does not', () => {
  const head = ['leaf strategy=naive', 'time | event | pool | effects', '0 | start | | dial 1'];
  const stuck = drawScenario('x', ['# About', ...head, '5 | fail 1 lost | a=backoff |'].join('\n'));
  assert.match(stuck, /stuck: still seeks a/);
  const found = drawScenario('x', [...head, '5 | up 1 t1 a@1 | a=claimed |'].join('\n'));
  assert.match(found, /every live root proxy is claimed/);
  tagsOf(stuck);
  assert.throws(() => drawScenario('x', 'root proxy=a'), /not a scenario of an agent/);
});

test('the axis has about a dozen labels, and finer ticks between them', () => {
  for (const endMs of [900, 61_000, 120_000, 470_000, 3_600_000]) {
    const shown = linearTicks(endMs).filter(({ minor }) => !minor).length;
    assert.ok(shown >= 1 && shown <= 16, `${String(shown)} labels for ${String(endMs)} ms`);
  }
});
