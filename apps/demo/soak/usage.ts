import { readFileSync, readdirSync } from 'node:fs';
import type { Service } from '../src/processes/service.ts';

interface Sample {
  readonly atMs: number;
  readonly residentMiB: number;
  readonly files: number;
}

/** The least of a quarter of the time: what is there beside garbage and connections that come and go. */
export interface Level {
  /** In the second quarter, after warming up. */
  readonly start: number;
  /** In the last quarter. */
  readonly end: number;
  readonly perHour: number;
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
  const least = (part: readonly Sample[]) => Math.min(...part.map(value));
  const [start, end] = [least(samples.slice(quarter, 2 * quarter)), least(samples.slice(-quarter))];
  const apartMs = ((samples.at(-1)?.atMs ?? 0) - (samples[0]?.atMs ?? 0)) / 2;
  return { start: round(start), end: round(end), perHour: round(((end - start) * HOUR_MS) / apartMs) };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
