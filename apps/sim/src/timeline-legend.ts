import { escapeHtml } from './timeline-html.ts';

const BAR = 'x="2" width="40"';

/** Each sample is drawn as the picture draws it. */
const SAMPLES: readonly (readonly [string, string])[] = [
  [`<rect class="bar e-claimed" ${BAR} y="3" height="12"/>`, 'claim held, in the colour of its root proxy'],
  [
    `<rect class="bar e-provisional" ${BAR} y="3" height="12"/><rect class="hatch" ${BAR} y="3" height="12" fill="url(#hatch)"/>`,
    'claim held, not recorded in the store yet (provisional)',
  ],
  [`<rect class="bar e-standby" ${BAR} y="7" height="4"/>`, 'standby: another agent holds it, this one waits'],
  [`<rect class="bar e-sibling" ${BAR} y="8" height="2"/>`, 'held by another agent, no tunnel kept'],
  [`<rect class="bar e-seeking" ${BAR} y="5" height="8"/>`, 'sought: a dial is under way or due at once'],
  [`<rect class="bar e-backoff" ${BAR} y="6" height="6"/>`, 'sought again after a wait'],
  [
    `<rect class="bar e-draining" ${BAR} y="3" height="12"/><rect class="hatch" ${BAR} y="3" height="12" fill="url(#hatch)"/>`,
    'the root proxy drains',
  ],
  [`<rect class="bar e-gone" ${BAR} y="8.5" height="1"/>`, 'known to be gone, not sought'],
  [
    '<g class="dial met"><line x1="4" x2="34" y1="9" y2="9"/><svg x="34" y="9" class="at"><circle r="4"/></svg></g>',
    'dial, from its start to the tunnel it made',
  ],
  [
    '<g class="dial met"><line x1="4" x2="34" y1="9" y2="9"/><svg x="34" y="9" class="at"><circle r="4"/><circle class="via c1" r="2"/></svg></g>',
    'dial that another root proxy relayed (inner colour)',
  ],
  [
    '<g class="dial failed"><line x1="4" x2="34" y1="9" y2="9"/><svg x="34" y="9" class="at"><path d="M-3 -3L3 3M-3 3L3 -3"/></svg></g>',
    'dial that failed',
  ],
  [
    '<g class="dial wasted"><line x1="4" x2="34" y1="9" y2="9"/><svg x="34" y="9" class="at"><circle class="none" r="3.5"/></svg></g>',
    'dial that met a root proxy already held: wasted',
  ],
  [
    '<g class="dial failed"><svg x="22" y="9" class="at"><circle class="none" r="3"/></svg></g>',
    'dial given up: no longer of use',
  ],
  [
    '<line class="tick news" x1="14" x2="14" y1="3" y2="15"/><line class="tick olds" x1="28" x2="28" y1="10" y2="15"/>',
    'gossip heard: long when it told something new',
  ],
  [
    '<g class="fault f-process"><rect class="span" x="2" y="2" width="40" height="14" rx="2"/><svg x="2" y="2" class="at"><path d="M0 0V14"/></svg></g>',
    'fault of a process',
  ],
  [
    '<g class="fault f-network"><rect class="span" x="2" y="2" width="40" height="14" rx="2"/><svg x="2" y="2" class="at"><path d="M0 0V14"/></svg></g>',
    'fault between processes',
  ],
  [
    '<g class="fault f-store"><rect class="span" x="2" y="2" width="40" height="14" rx="2"/><svg x="2" y="2" class="at"><path d="M0 0V14"/></svg></g>',
    'fault of the store',
  ],
  [
    `<g class="proxy"><rect class="bar life up" ${BAR} y="2" height="10"/><rect class="bar registered" ${BAR} y="14" height="3"/></g>`,
    'root proxy up; below: in touch with a registry',
  ],
  [
    `<rect class="bar life paused" ${BAR} y="3" height="10"/><rect class="hatch" ${BAR} y="3" height="10" fill="url(#hatch)"/>`,
    'process stopped (nothing is handled)',
  ],
];

/** What every mark of a timeline means. */
export function legend(): string {
  const items = SAMPLES.map(
    ([sample, text]) => `<li><svg class="c0" aria-hidden="true">${sample}</svg><span>${escapeHtml(text)}</span></li>`,
  );
  return `<ul class="legend c0">${items.join('')}</ul>`;
}
