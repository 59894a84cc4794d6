import { readFileSync, readdirSync } from 'node:fs';
import type { Service } from '../src/processes/service.ts';

interface Sample {
  readonly atMs: number;
  readonly residentMiB: number;
  readonly files: number;
}

interface Range {
  readonly least: number;
  readonly most: number;
}

/** Garbage and connections come and go, each in its own time: only what both ends of the range do is a trend. */
export interface Level {
  /** In the second quarter, after warming up. */
  readonly start: Range;
  /** In the last quarter. */
  readonly end: Range;
  /** By how much both the least and the most grew; below 0 where either shrank. */
  readonly growth: number;
  readonly growthPerHour: number;
}

export interface UsageTrend {
  readonly service: string;
  readonly residentMiB: Level;
  readonly files: Level;
}

const HOUR_MS = 3_600_000;
const KIB_PER_MIB = 1_024;

/** Samples resident memory and open files of processes from /proc; on Linux only. */
export class UsageProbe {
  readonly #samples = new Map<string, Sample[]>();
  readonly #timer: NodeJS.Timeout;

  constructor(services: readonly Service[], intervalMs: number) {
    this.#timer = setInterval(() => {
      for (const { name, pid, exit } of services) if (exit === undefined) this.#take(name, pid);
    }, intervalMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  trends(): readonly UsageTrend[] {
    return [...this.#samples].map(([service, samples]) => ({
      service,
      residentMiB: levelOf(samples, ({ residentMiB }) => residentMiB),
      files: levelOf(samples, ({ files }) => files),
    }));
  }

  #take(name: string, pid: number): void {
    const samples = this.#samples.get(name) ?? [];
    this.#samples.set(name, samples);
    // proc(5): VmRSS is in KiB.
    const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    if (resident === undefined) return; // it is ending
    const files = readdirSync(`/proc/${pid}/fd`).length;
    samples.push({ atMs: performance.now(), residentMiB: Number(resident) / KIB_PER_MIB, files });
  }
}

function levelOf(samples: readonly Sample[], value: (sample: Sample) => number): Level {
  const quarter = Math.floor(samples.length / 4);
  if (quarter === 0) throw new Error(`${samples.length} samples are too few to see a trend: let it run longer`);
  const range = (part: readonly Sample[]): Range => {
    const values = part.map(value);
    return { least: round(Math.min(...values)), most: round(Math.max(...values)) };
  };
  const [start, end] = [range(samples.slice(quarter, 2 * quarter)), range(samples.slice(-quarter))];
  const growth = Math.min(end.least - start.least, end.most - start.most);
  const apartMs = ((samples.at(-1)?.atMs ?? 0) - (samples[0]?.atMs ?? 0)) / 2;
  return { start, end, growth: round(growth), growthPerHour: round((growth * HOUR_MS) / apartMs) };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
