import { KeyedRandom } from './random.ts';
import type { Scheduled, Scheduler } from './scheduler.ts';

/** How a host's monotonic clock differs from virtual time. */
export interface ClockShape {
  /** Reading at virtual time 0; a monotonic clock's zero means nothing. */
  readonly offsetMs: number;
  /** Rate: 1 + drift, for example 1.0002. */
  readonly rate: number;
}

/**
 * One simulated process: its clock, its timers, its pauses and deaths. Work arrives through `run`; a paused process finds
 * it all, in order, when it resumes (SIGSTOP: the clock goes on, nothing is handled); a dead one loses it.
 */
export class Host {
  readonly name: string;
  readonly random: KeyedRandom;
  readonly #scheduler: Scheduler;
  readonly #clock: ClockShape;
  #generation = 0;
  #alive = false;
  #paused = false;
  #everPaused = false;
  #resumedAt = -Infinity;
  #inbox: (() => void)[] = [];
  #timer: Scheduled | undefined;
  #timerAt: number | undefined;

  constructor(name: string, seed: number, scheduler: Scheduler, clock: ClockShape) {
    this.name = name;
    this.random = new KeyedRandom(seed, name);
    this.#scheduler = scheduler;
    this.#clock = clock;
  }

  get alive(): boolean {
    return this.#alive;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** In this life. */
  get everPaused(): boolean {
    return this.#everPaused;
  }

  /** Whether it was stopped at any moment of the last `ms`, in virtual time. */
  pausedWithin(ms: number): boolean {
    return this.#paused || this.#scheduler.now - this.#resumedAt <= ms;
  }

  /** Rises with every start, so that what an earlier life left behind cannot reach a later one. */
  get generation(): number {
    return this.#generation;
  }

  /** The process's own monotonic clock, in milliseconds. */
  get now(): number {
    return this.#clock.offsetMs + this.#scheduler.now * this.#clock.rate;
  }

  start(): void {
    this.#generation += 1;
    this.#alive = true;
    this.#paused = false;
    this.#everPaused = false;
    this.#resumedAt = -Infinity;
  }

  crash(): void {
    this.#alive = false;
    this.#inbox = [];
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = undefined;
  }

  pause(): void {
    this.#paused = true;
    this.#everPaused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#resumedAt = this.#scheduler.now;
    const inbox = this.#inbox;
    this.#inbox = [];
    for (const work of inbox) this.run(work);
  }

  /** Handles `work` now, after the pause, or never. */
  run(work: () => void): void {
    if (!this.#alive) return;
    if (this.#paused) this.#inbox.push(work);
    else work();
  }

  /** Wraps work for later so that it only runs in this life of the process. */
  bind<A extends readonly unknown[]>(work: (...args: A) => void): (...args: A) => void {
    const generation = this.#generation;
    return (...args) => {
      if (this.#generation === generation) this.run(() => work(...args));
    };
  }

  /** Calls back after a delay on the process's own clock. */
  after(delayMs: number, work: () => void): Scheduled {
    return this.#scheduler.after(delayMs / this.#clock.rate, this.bind(work));
  }

  /** One wake-up for the process's cores, at a reading of its own clock; replaces the one before. */
  wakeAt(instant: number | undefined, work: () => void): void {
    if (instant === this.#timerAt && this.#timer !== undefined) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = instant;
    if (instant === undefined) return;
    const wake = this.bind(() => work());
    // A nanosecond late, never early: a rounding error early finds nothing due, and would wake us again for ever.
    const at = (instant - this.#clock.offsetMs) / this.#clock.rate + 1e-6;
    this.#timer = this.#scheduler.at(at, () => {
      this.#timer = undefined;
      this.#timerAt = undefined;
      wake();
    });
  }
}
