import { styleText } from 'node:util';
import type { AgentRow, Cell, CellState, LeafRows, Matrix, ProxyColumn } from './matrix.ts';
import { printable } from './text.ts';

export interface RenderOptions {
  /** Colours and bold. */
  readonly color: boolean;
}

const COLUMN_GAP = '  ';
const INDENT = '  ';

const STYLES: Readonly<Record<CellState, Parameters<typeof styleText>[0]>> = {
  claimed: 'green',
  provisional: 'yellow',
  standby: 'cyan',
  draining: 'yellow',
  sibling: 'dim',
  seeking: 'yellow',
  backoff: 'red',
  gone: 'dim',
  unknown: 'dim',
};

const LABELS: Readonly<Record<CellState, string>> = {
  claimed: 'claimed',
  provisional: 'provisional',
  standby: 'standby',
  draining: 'draining',
  sibling: '.',
  seeking: 'seeking',
  backoff: 'backoff',
  gone: 'gone',
  unknown: '-',
};

/** The matrix as lines for a terminal: a heading, one row per agent, then what is missing and why. */
export function renderMatrix(matrix: Matrix, options: RenderOptions): string[] {
  const paint = (style: Parameters<typeof styleText>[0], text: string): string => {
    return options.color ? styleText(style, text, { validateStream: false }) : text;
  };
  const names = matrix.leaves.flatMap(({ leaf, agents }) => [leaf, ...agents.map(({ agent }) => INDENT + agent)]);
  const nameWidth = Math.max(0, ...names.map((name) => printable(name).length));
  const widths = matrix.proxies.map((column, index) => {
    const cells = matrix.leaves.flatMap(({ agents }) => agents.map((row) => label(row.cells[index]).length));
    return Math.max(heading(column).length, ...cells);
  });
  const line = (
    name: string,
    cells: readonly { readonly text: string; readonly style: Parameters<typeof styleText>[0] }[],
    tail = '',
  ): string => {
    const painted = cells.map(
      ({ text, style }, index) => paint(style, text) + ' '.repeat((widths[index] ?? 0) - text.length),
    );
    return [printable(name).padEnd(nameWidth), ...painted, tail].join(COLUMN_GAP).trimEnd();
  };
  return [
    line(
      '',
      matrix.proxies.map((column) => ({ text: heading(column), style: column.silence === '' ? 'bold' : 'red' })),
      'dials',
    ),
    ...matrix.leaves.flatMap(({ leaf, agents }) => [
      paint('bold', printable(leaf)),
      ...agents.map((row) =>
        line(
          INDENT + row.agent,
          row.cells.map((cell) => ({ text: label(cell), style: STYLES[cell.state] })),
          dials(row),
        ),
      ),
    ]),
    '',
    ...notes(matrix).map(({ text, good }) => paint(good ? 'green' : 'yellow', text)),
  ];
}

function heading(column: ProxyColumn): string {
  return printable(column.proxy) + (column.draining ? ' (draining)' : column.silence === '' ? '' : ' (silent)');
}

function label(cell: Cell | undefined): string {
  if (cell === undefined) return LABELS.unknown;
  const via = cell.via === '' ? '' : ` via ${printable(cell.via)}`;
  const open = cell.openConnections === 0 ? '' : ` +${cell.openConnections}`;
  return LABELS[cell.state] + via + open;
}

function dials({ dials: total, wastedDials }: AgentRow): string {
  return wastedDials === 0 ? String(total) : `${total} (${wastedDials} wasted)`;
}

/** One line each for everything that keeps the matrix from being complete, or the one line that it is. */
function notes(matrix: Matrix): { readonly text: string; readonly good: boolean }[] {
  const problems = [
    ...(matrix.registryConnected ? [] : [`${printable(matrix.answeredBy)} has no registry: membership may be old`]),
    ...matrix.proxies
      .filter(({ silence }) => silence !== '')
      .map(({ proxy, silence }) => `${printable(proxy)}: ${printable(silence)}`),
    ...(matrix.leaves.length === 0 ? ['no agent is attached anywhere'] : []),
    ...matrix.leaves.flatMap((leaf) => leaf.unclaimed.map((proxy) => missing(leaf, proxy))),
  ];
  if (problems.length > 0) return problems.map((text) => ({ text, good: false }));
  return [{ text: `every live root proxy is claimed by every leaf cluster`, good: true }];
}

function missing({ leaf, agents }: LeafRows, proxy: string): string {
  const views = agents.flatMap(({ cells }) => cells.filter((cell) => cell.proxy === proxy));
  const reasons = views.map(({ agent, state, why }) => {
    return `${printable(agent)} ${why === '' ? (state === 'unknown' ? 'has not heard of it' : `is ${state}`) : printable(why)}`;
  });
  return `${printable(leaf)} does not hold ${printable(proxy)}: ${reasons.join('; ')}`;
}
