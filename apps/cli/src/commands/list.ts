import type { GrpcChannel } from '@xylem/grpc';
import { printable, table } from '@xylem/matrix';
import { AccessService } from '@xylem/wire';
import type { access } from '@xylem/wire';

export interface ListOptions {
  /** Only this leaf cluster; empty for all. */
  readonly leaf: string;
  readonly json: boolean;
}

/** The text of `xylem ls`: one line per address that can be dialled. */
export async function listNodes(channel: GrpcChannel, deadlineMs: number, options: ListOptions): Promise<string> {
  const response = await channel.unary(AccessService.listNodes, { leaf: options.leaf }, deadlineMs);
  return options.json ? listJson(response) : listText(response, options.leaf);
}

function listJson(response: access.ListNodesResponse): string {
  const leaves = response.leaves.map(({ leaf, nodes }) => ({
    leaf,
    nodes: nodes.map(({ name, ports }) => ({ name, ports })),
  }));
  return `${JSON.stringify({ leaves }, null, 2)}\n`;
}

function listText(response: access.ListNodesResponse, wanted: string): string {
  const rows = response.leaves
    .flatMap(({ leaf, nodes }) => nodes.map(({ name, ports }) => [printable(`${name}.${leaf}`), ports.join(' ')]))
    .toSorted(([a = ''], [b = '']) => a.localeCompare(b, 'en', { numeric: true }));
  if (rows.length === 0) {
    return wanted === ''
      ? 'no nodes: no agent is attached\n'
      : `no nodes in ${printable(wanted)}: no agent of such a leaf cluster is attached\n`;
  }
  return `${table([['NODE', 'PORTS'], ...rows]).join('\n')}\n`;
}
