import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createChannel } from '@xylem/grpc';
import { memoryTlsSource } from '@xylem/identity';
import { buildMatrix } from '@xylem/matrix';
import type { Matrix } from '@xylem/matrix';
import { AccessService, MAX_ANSWER_BYTES } from '@xylem/wire';
import type { PartFolder } from './files.ts';

const REQUEST_TIMEOUT_MS = 2_000;
const POLL_MS = 100;

/** Asks for the agent x proxy matrix, as `xylem status` does. */
export class Observer {
  readonly #tls: ReturnType<typeof memoryTlsSource>;
  readonly #domain: string;
  readonly #address: string;

  constructor(user: PartFolder, address: string, domain: string) {
    const read = (path: string): string => readFileSync(path, 'utf8');
    this.#tls = memoryTlsSource({ ca: read(user.tls.ca), cert: read(user.tls.cert), key: read(user.tls.key) });
    this.#address = address;
    this.#domain = domain;
  }

  /** undefined when nobody answers in time. A new connection each time, so that every root proxy is asked in turn. */
  async look(): Promise<Matrix | undefined> {
    const channel = createChannel({
      address: this.#address,
      tls: this.#tls,
      serverName: this.#domain,
      connectTimeoutMs: REQUEST_TIMEOUT_MS,
      maxMessageBytes: MAX_ANSWER_BYTES,
    });
    try {
      return buildMatrix(await channel.unary(AccessService.getStatus, {}, REQUEST_TIMEOUT_MS));
    } catch {
      return undefined;
    } finally {
      channel.close();
    }
  }

  /** Looks until `wanted` holds; resolves with the matrix, or with the last one seen when the deadline passes. */
  async until(
    wanted: (matrix: Matrix) => boolean,
    deadlineMs: number,
  ): Promise<{ readonly reached: boolean; readonly matrix: Matrix | undefined }> {
    const deadline = performance.now() + deadlineMs;
    let last: Matrix | undefined;
    while (performance.now() < deadline) {
      const matrix = await this.look();
      if (matrix !== undefined && wanted(matrix)) return { reached: true, matrix };
      last = matrix ?? last;
      await delay(POLL_MS);
    }
    return { reached: false, matrix: last };
  }
}

/** Every one of these root proxies is claimed by every one of these leaf clusters. */
export function allClaimed(proxies: readonly string[], leaves: readonly string[]): (matrix: Matrix) => boolean {
  return (matrix) =>
    leaves.every((leaf) => {
      const rows = matrix.leaves.find((candidate) => candidate.leaf === leaf)?.agents ?? [];
      return proxies.every((proxy) =>
        rows.some(({ cells }) => cells.some((cell) => cell.proxy === proxy && cell.state === 'claimed')),
      );
    });
}
