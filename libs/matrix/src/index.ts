export { buildMatrix } from './matrix.ts';
export type { AgentRow, Cell, CellState, LeafRows, Matrix, ProxyColumn } from './matrix.ts';
export { renderMatrix } from './render.ts';
export type { RenderOptions } from './render.ts';
export { duration, printable, table } from './text.ts';
