/** Hues that keep apart, in the order in which root proxies get them; more proxies start again, a little paler. */
const HUES = [255, 25, 150, 80, 305, 200, 50, 345, 125, 280, 5, 180] as const;
const ROUNDS = 3;

/** How many colours there are. */
export const COLOURS = HUES.length * ROUNDS;

const colours = Array.from({ length: COLOURS }, (_, index) => {
  const hue = String(HUES[index % HUES.length]);
  const round = Math.floor(index / HUES.length);
  const light = `oklch(${String(0.58 + 0.08 * round)} ${String(0.16 - 0.04 * round)} ${hue})`;
  const dark = `oklch(${String(0.74 - 0.09 * round)} ${String(0.14 - 0.03 * round)} ${hue})`;
  return `.c${String(index)} { --c: light-dark(${light}, ${dark}); }`;
}).join('\n');

export const STYLE = `
:root {
  color-scheme: light dark;
  --page: light-dark(#f6f7f9, #14171c);
  --card: light-dark(#ffffff, #1b1f26);
  --ink: light-dark(#1c222b, #e4e8ee);
  --soft: light-dark(#5d6876, #97a3b2);
  --rule: light-dark(#e3e7ec, #2a303a);
  --stripe: light-dark(#f9fafc, #1e232b);
  --bad: light-dark(#c42b3a, #ff7b86);
  --good: light-dark(#1d7f46, #62d196);
  --process: light-dark(#d98a1f, #e0a64c);
  --network: light-dark(#8a5bd1, #b594ec);
  --stores: light-dark(#2f7fa8, #6bb6dc);
  --c: var(--soft);
  --label: 8.5rem;
  --zoom: 1;
}
* { box-sizing: border-box; }
body {
  margin: 0;
  padding: 1.5rem clamp(0.75rem, 2vw, 2.25rem) 3rem;
  background: var(--page);
  color: var(--ink);
  font: 14px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif;
}
h1 { margin: 0; font-size: 1.55rem; letter-spacing: -0.01em; }
h2 { margin: 0 0 0.5rem; font-size: 0.8rem; text-transform: uppercase; letter-spacing: 0.08em; color: var(--soft); }
p { margin: 0.3rem 0 0; max-width: 75rem; }
a { color: inherit; }
.head { display: flex; flex-wrap: wrap; gap: 0.5rem 1rem; align-items: baseline; }
.verdict { padding: 0.1rem 0.7rem; border-radius: 1rem; border: 1px solid currentColor; font-weight: 600; font-size: 0.85rem; }
.verdict.kept { color: var(--good); }
.verdict.broken { color: var(--bad); }
.lead { color: var(--soft); }
.facts { display: flex; flex-wrap: wrap; gap: 0.35rem 1.75rem; margin: 0.9rem 0 0; }
.facts div { display: flex; gap: 0.45rem; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; font-variant-numeric: tabular-nums; }
.violations { margin: 1rem 0 0; padding: 0.75rem 1rem; border-left: 4px solid var(--bad); background: var(--card); border-radius: 0.4rem; }
.violations ol { margin: 0; padding-left: 1.2rem; }
.violations code { font-size: 0.85rem; }
.card { margin-top: 1rem; background: var(--card); border: 1px solid var(--rule); border-radius: 0.6rem; }
.legend { display: grid; grid-template-columns: repeat(auto-fill, minmax(15.5rem, 1fr)); gap: 0.15rem 1.25rem; margin: 0; padding: 0.85rem 1rem; list-style: none; font-size: 0.82rem; }
.legend li { display: flex; align-items: center; gap: 0.6rem; }
.legend svg { flex: none; width: 44px; height: 18px; overflow: visible; }
summary { cursor: pointer; padding: 0.6rem 1rem; font-weight: 600; font-size: 0.85rem; }
.tools { display: flex; flex-wrap: wrap; align-items: center; gap: 0.35rem; margin: 1rem 0 0; padding: 0; border: 0; font-size: 0.82rem; color: var(--soft); }
.tools label { padding: 0.12rem 0.6rem; border: 1px solid var(--rule); border-radius: 0.35rem; background: var(--card); cursor: pointer; color: var(--ink); }
.tools input { position: absolute; opacity: 0; pointer-events: none; }
.tools input:checked + label { background: var(--ink); color: var(--card); border-color: var(--ink); }
.tools input:focus-visible + label { outline: 2px solid var(--stores); outline-offset: 2px; }
#readout { margin-left: auto; font-variant-numeric: tabular-nums; }
.scroll { margin-top: 0.5rem; overflow: auto; max-height: 92vh; padding-bottom: 0.5rem; }
.grid { position: relative; isolation: isolate; width: calc(var(--label) + (100% - var(--label) - 1rem) * var(--zoom)); min-width: 46rem; padding-right: 0; }
.row { position: relative; display: flex; }
.row > .label { position: sticky; left: 0; z-index: 3; flex: none; width: var(--label); padding: 0 0.6rem 0 1.6rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; background: var(--card); border-right: 1px solid var(--rule); font-size: 0.74rem; line-height: 1; display: flex; align-items: center; color: var(--soft); }
.row.entry > .label::before, .row.proxy > .label::before { content: ""; flex: none; width: 0.5rem; height: 0.5rem; margin-right: 0.45rem; border-radius: 50%; background: var(--c); }
.row.entry > .label, .row.proxy > .label { color: var(--ink); }
.row.agent > .label { padding-left: 1rem; color: var(--ink); font-weight: 650; font-size: 0.8rem; }
.row.agent { margin-top: 0.55rem; }
.row.gossip { margin-bottom: 0.35rem; }
.row.title > .label { padding-left: 0.75rem; font-size: 0.7rem; font-weight: 650; text-transform: uppercase; letter-spacing: 0.07em; overflow: visible; width: auto; border: 0; background: none; }
.row.title { margin-top: 0.9rem; height: 1.5rem; border-top: 1px solid var(--rule); padding-top: 0.2rem; }
.defs { position: absolute; }
.row svg.lane { flex: 1; margin: 0 14px; display: block; overflow: visible; min-width: 0; }
.row.entry:hover, .row.proxy:hover, .row.registry:hover { background: color-mix(in oklab, var(--c) 9%, transparent); }
.row.axis + .row.title { border-top: 0; margin-top: 0.35rem; }
.row.axis { position: sticky; top: 0; z-index: 4; background: var(--card); border-bottom: 1px solid var(--rule); }
.row.axis > .label { z-index: 5; }
svg .at { overflow: visible; }
.overlay { position: absolute; z-index: -1; inset: 0 14px 0 calc(var(--label) + 14px); width: calc(100% - var(--label) - 28px); height: 100%; pointer-events: none; overflow: visible; }
.overlay .major { stroke: var(--rule); }
.overlay .minor { stroke: var(--rule); stroke-dasharray: 1 4; opacity: 0; }
.overlay .stretch { fill: var(--stripe); }
.overlay .edge { stroke: var(--soft); stroke-dasharray: 4 3; opacity: 0.7; }
.overlay .violation { stroke: var(--bad); stroke-width: 2; }
.axis text { fill: var(--soft); font-size: 10.5px; font-variant-numeric: tabular-nums; }
.axis .minor { opacity: 0; }
.axis .stretch-name { fill: var(--ink); font-weight: 600; font-size: 11px; }
.axis .violation { fill: var(--bad); font-weight: 700; }
.bar { fill: var(--c); stroke: none; }
.hatch { pointer-events: none; }
.hatch-line { stroke: var(--card); stroke-width: 2.5; }
.e-standby { opacity: 0.75; }
.e-sibling { opacity: 0.4; }
.e-draining { opacity: 0.55; }
.e-seeking { fill: color-mix(in oklab, var(--c) 22%, transparent); stroke: var(--c); stroke-width: 1; stroke-dasharray: 3 2; }
.e-backoff { fill: color-mix(in oklab, var(--c) 13%, transparent); }
text.state { font-size: 10.5px; fill: var(--ink); paint-order: stroke; stroke: var(--card); stroke-width: 3; stroke-linejoin: round; pointer-events: none; }
text.s-claimed { stroke: none; fill: var(--card); font-weight: 600; }
.e-gone { fill: var(--soft); opacity: 0.45; }
.dial { stroke: var(--c); fill: none; }
.dial circle { fill: var(--c); stroke: var(--card); stroke-width: 1.2; }
.dial .via { stroke: none; fill: var(--c); outline: none; }
.dial circle.none { fill: var(--card); stroke: var(--soft); }
.dial.wasted circle.none { stroke: var(--c); stroke-width: 1.6; }
.dial line { stroke-width: 1.6; }
.dial.failed { --c: var(--bad); stroke: var(--bad); stroke-width: 1.7; }
.tick { stroke: var(--c); stroke-width: 1.6; }
.tick.olds { opacity: 0.55; stroke-width: 1.2; }
.tick.event { stroke: var(--stores); stroke-width: 2; }
.life.up { fill: var(--c); opacity: 0.5; }
.agent .life.up, .registry .life.up { fill: var(--soft); opacity: 0.3; }
.proxy .life.up { opacity: 0.85; }
.life.paused { fill: var(--process); }
.life.draining { fill: var(--c); opacity: 0.55; }
.registered { fill: var(--soft); opacity: 0.75; }
.trouble { fill: var(--stores); opacity: 0.55; }
.trouble.down { opacity: 0.9; }
.fault { --f: var(--process); }
.fault.f-network { --f: var(--network); }
.fault.f-store { --f: var(--stores); }
.fault .span { fill: color-mix(in oklab, var(--f) 24%, transparent); }
.fault path { stroke: var(--f); stroke-width: 2.5; }
.fault text { fill: var(--ink); font-size: 10px; }
[tabindex="0"]:focus-visible { outline: 2px solid var(--stores); outline-offset: -2px; }
#cursor { position: absolute; top: 0; bottom: 0; width: 1px; background: var(--soft); opacity: 0.6; pointer-events: none; z-index: 2; }
#tip { position: fixed; z-index: 10; max-width: 32rem; padding: 0.35rem 0.6rem; border-radius: 0.35rem; background: var(--ink); color: var(--page); font-size: 0.78rem; line-height: 1.35; pointer-events: none; box-shadow: 0 3px 12px rgb(0 0 0 / 0.25); }
.foot { margin-top: 1rem; color: var(--soft); font-size: 0.8rem; }
table.steps { width: 100%; border-collapse: collapse; font-size: 0.8rem; }
table.steps th, table.steps td { padding: 0.25rem 0.8rem; text-align: left; border-top: 1px solid var(--rule); vertical-align: top; }
table.steps th { color: var(--soft); font-weight: 600; }
table.steps td:first-child { text-align: right; font-variant-numeric: tabular-nums; }
table.steps tr.comment td { color: var(--soft); font-style: italic; text-align: left; }
body:has(#zoom-3:checked) { --zoom: 3; }
body:has(#zoom-10:checked) { --zoom: 10; }
body:has(#zoom-40:checked) { --zoom: 40; }
body:has(#zoom-200:checked) { --zoom: 200; }
body:has(#zoom-10:checked, #zoom-40:checked, #zoom-200:checked) :is(.overlay, .axis) .minor { opacity: 1; }
@media print { .scroll { max-height: none; overflow: visible; } .tools { display: none; } }
${colours}
`;

/** Works on a page that is complete without it: keeps the place when zooming, follows the pointer, shows titles at once. */
export const SCRIPT = `
'use strict';
const scroll = document.querySelector('.scroll');
const grid = document.querySelector('.grid');
const lane = document.querySelector('.axis svg');
const readout = document.getElementById('readout');
const end = Number(grid.dataset.end || '0');
const add = (id) => { const node = document.createElement('div'); node.id = id; node.hidden = true; node.setAttribute('aria-hidden', 'true'); return node; };
const cursor = grid.appendChild(add('cursor'));
const tip = document.body.appendChild(add('tip'));
let share = 0.5;
const at = (clientX) => { const box = lane.getBoundingClientRect(); return (clientX - box.left) / box.width; };
const middle = () => scroll.getBoundingClientRect().left + scroll.clientWidth / 2;
for (const radio of document.querySelectorAll('.tools input')) {
  radio.addEventListener('change', () => {
    const box = lane.getBoundingClientRect();
    scroll.scrollLeft += box.left + share * box.width - middle();
  });
}
scroll.addEventListener('scroll', () => { share = at(middle()); });
const step = (by) => {
  const radios = [...document.querySelectorAll('.tools input')];
  const next = radios[radios.findIndex((radio) => radio.checked) + by];
  if (next === undefined) return;
  next.checked = true;
  next.dispatchEvent(new Event('change'));
};
scroll.addEventListener('wheel', (event) => {
  if (!event.ctrlKey) return;
  event.preventDefault();
  share = at(event.clientX);
  step(event.deltaY < 0 ? 1 : -1);
}, { passive: false });
document.addEventListener('keydown', (event) => {
  if (event.key === '+' || event.key === '-') { share = at(middle()); step(event.key === '+' ? 1 : -1); }
});
grid.addEventListener('pointermove', (event) => {
  const where = at(event.clientX);
  cursor.hidden = where < 0 || where > 1;
  cursor.style.left = event.clientX - grid.getBoundingClientRect().left + 'px';
  if (end > 0) readout.textContent = cursor.hidden ? '' : (where * end / 1000).toFixed(3) + ' s';
});
grid.addEventListener('pointerleave', () => { cursor.hidden = true; });
let held;
const release = () => { if (held !== undefined) held.node.textContent = held.text; held = undefined; tip.hidden = true; };
grid.addEventListener('pointerover', (event) => {
  release();
  const shape = event.target.closest('g, rect, line');
  const node = shape === null ? null : [...shape.children].find((child) => child.tagName === 'title');
  if (node === null || node === undefined) return;
  held = { node, text: node.textContent };
  node.textContent = '';
  tip.textContent = held.text;
  tip.hidden = false;
});
grid.addEventListener('pointerleave', release);
grid.addEventListener('pointermove', (event) => {
  const { innerWidth, innerHeight } = window;
  tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)) + 'px';
  tip.style.top = (event.clientY + 18 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 18) + 'px';
});
`;
