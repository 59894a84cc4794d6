import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { runCommand } from './command.ts';

/** nx's project graph: which project imports or declares which. */
export interface ProjectGraph {
  readonly projects: readonly string[];
  readonly edges: readonly { readonly source: string; readonly target: string }[];
}

/** The part of `nx graph --file` that is used. */
interface GraphFile {
  readonly graph: {
    readonly nodes: Readonly<Record<string, unknown>>;
    readonly dependencies: Readonly<Record<string, readonly { source: string; target: string }[]>>;
  };
}

/** Asks nx. Rejects where nx fails, and where it only has part of the graph but exits 0 all the same. */
export async function readProjectGraph(root: string): Promise<ProjectGraph> {
  const folder = mkdtempSync(join(tmpdir(), 'xylem-graph-'));
  try {
    const file = join(folder, 'graph.json');
    const { ok, output } = await runCommand(root, 'nx', ['graph', `--file=${file}`]);
    if (!ok || /partial/i.test(output)) throw new Error(`nx has no whole project graph:\n${output}`);
    const { graph } = JSON.parse(readFileSync(file, 'utf8')) as GraphFile;
    return { projects: Object.keys(graph.nodes).sort(), edges: Object.values(graph.dependencies).flat() };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
