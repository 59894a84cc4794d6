import type { GrpcChannel } from '@xylem/grpc';
import { buildMatrix, printable, renderMatrix } from '@xylem/matrix';
import type { Matrix } from '@xylem/matrix';
import { AccessService } from '@xylem/wire';

export interface StatusOptions {
  readonly json: boolean;
  readonly color: boolean;
}

/** The text of `xylem status`. */
export async function showStatus(channel: GrpcChannel, deadlineMs: number, options: StatusOptions): Promise<string> {
  const matrix = buildMatrix(await channel.unary(AccessService.getStatus, {}, deadlineMs));
  return options.json ? statusJson(matrix) : statusText(matrix, options.color);
}

/** One JSON document; etcd's 64-bit numbers are strings. */
function statusJson(matrix: Matrix): string {
  return `${JSON.stringify(matrix, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value), 2)}\n`;
}

function statusText(matrix: Matrix, color: boolean): string {
  const registry = matrix.registryConnected ? 'registry connected' : 'no registry';
  const stamp = `membership of epoch ${matrix.stamp.epoch}, revision ${matrix.stamp.revision}`;
  const heading = `${printable(matrix.answeredBy)} answers: ${registry}, ${stamp}`;
  return `${[heading, '', ...renderMatrix(matrix, { color })].join('\n')}\n`;
}
