import { setTimeout as delay } from 'node:timers/promises';
import { styleText } from 'node:util';
import { duration, renderMatrix, table } from '@xylem/matrix';
import type { Matrix } from '@xylem/matrix';
import type { Deployment, ProxyPart } from './deployment.ts';
import { DOMAIN } from './layout.ts';
import { Observer } from './observer.ts';
import { describeExit } from './processes/service.ts';
import type { LogLine } from './processes/service.ts';
import { tell } from './view/events.ts';
import { hints } from './view/hints.ts';
import { readKeys } from './view/keys.ts';
import type { Key } from './view/keys.ts';
import { Screen } from './view/screen.ts';

const REFRESH_MS = 1_000;
const RESTART_DELAY_MS = 3_000;
const EVENTS_SHOWN = 8;
const KEY_LINE = 'Keys: k kill a root proxy, a add one, d drain one, q or Ctrl-C end everything';

/** Shows a running deployment until it is ended, restarts root proxies that were killed, and obeys keys. */
export class LiveView {
  readonly #deployment: Deployment;
  readonly #directory: string;
  readonly #observer: Observer;
  /** undefined without a terminal. */
  readonly #screen: Screen | undefined;
  readonly #color: boolean;
  readonly #events: string[] = [];
  readonly #quit = Promise.withResolvers<void>();
  readonly #watched = new Set<ProxyPart>();
  #matrix: Matrix | undefined;
  #hintsShown = false;
  #running = false;

  constructor(deployment: Deployment, directory: string) {
    this.#deployment = deployment;
    this.#directory = directory;
    this.#observer = new Observer(deployment.user, deployment.doors.access, DOMAIN);
    this.#screen = process.stdout.isTTY ? new Screen(process.stdout) : undefined;
    this.#color = process.stdout.isTTY && process.stdout.hasColors();
  }

  /** Something happened; shown as a line. */
  line(line: LogLine): void {
    const text = tell(line);
    if (text !== undefined) this.note(text);
  }

  note(text: string): void {
    const stamped = `${new Date().toTimeString().slice(0, 8)}  ${text}`;
    this.#events.push(stamped);
    if (this.#events.length > EVENTS_SHOWN) this.#events.shift();
    if (!this.#running) return;
    if (this.#screen === undefined) process.stdout.write(`${stamped}\n`);
    else this.#draw();
  }

  /** Ends `run`. */
  quit(): void {
    this.#quit.resolve();
  }

  /** Resolves when somebody wants the end. Rejects with a ServiceFailure when a part is lost that is not replaced. */
  async run(): Promise<void> {
    this.#running = true;
    const { stdin } = process;
    const stopKeys = stdin.isTTY && this.#screen !== undefined ? readKeys((key) => this.#pressed(key)) : undefined;
    const stopWatching = new AbortController();
    try {
      await Promise.race([this.#quit.promise, this.#lost(), this.#refresh(stopWatching.signal)]);
    } finally {
      this.#running = false;
      stopWatching.abort();
      stopKeys?.();
      this.#screen?.release();
    }
  }

  async #refresh(signal: AbortSignal): Promise<never> {
    for (;;) {
      for (const part of this.#deployment.proxies.values()) this.#supervise(part);
      const before = this.#matrix;
      this.#matrix = (await this.#observer.look()) ?? this.#matrix;
      signal.throwIfAborted();
      if (this.#screen === undefined) this.#print(before);
      else this.#draw();
      await delay(REFRESH_MS, undefined, { signal });
    }
  }

  /** Without a terminal: the matrix whenever it changed, and once what to type. */
  #print(before: Matrix | undefined): void {
    const matrix = this.#matrix;
    if (matrix === undefined) return;
    if (before === undefined || shape(before) !== shape(matrix)) {
      process.stdout.write(`\n${renderMatrix(matrix, { color: false }).join('\n')}\n\n`);
    }
    if (matrix.complete && !this.#hintsShown) {
      this.#hintsShown = true;
      process.stdout.write(`${this.#hintLines().join('\n')}\n\n`);
    }
  }

  #draw(): void {
    const matrix = this.#matrix;
    const bold = (text: string): string => this.#paint('bold', text);
    this.#screen?.draw([
      bold('Agents and the root proxies they hold') + gossip(matrix),
      '',
      ...(matrix === undefined
        ? ['  waiting for a root proxy to answer']
        : renderMatrix(matrix, { color: this.#color }).map((line) => `  ${line}`)),
      '',
      ...this.#hintLines(),
      '',
      bold('What happens'),
      ...this.#events.map((event) => `  ${event}`),
      '',
      this.#paint('dim', KEY_LINE),
    ]);
  }

  #hintLines(): string[] {
    const rows = hints(this.#deployment, this.#directory).map(([line, what]) => [`  ${line}`, `# ${what}`]);
    const [victim] = [...this.#deployment.proxies.values()];
    if (victim !== undefined)
      rows.push([
        `  kill -9 ${victim.service.pid}`,
        `# root proxy ${victim.id}: everybody finds it again when it is back`,
      ]);
    return [this.#paint('bold', `Type in another terminal, in ${this.#directory}`), ...table(rows)];
  }

  /** A supervisor would start a root proxy again that was killed; one that was drained stays away. */
  #supervise(part: ProxyPart): void {
    if (this.#watched.has(part)) return;
    this.#watched.add(part);
    void part.service.exited.then(async (exit) => {
      if (this.#deployment.stopping) return;
      this.note(`${part.id} ${describeExit(exit)}`);
      if (exit.code === 0) return;
      await delay(RESTART_DELAY_MS);
      if (!this.#deployment.stopping) await this.#start(part.id, 'started again');
    });
  }

  async #start(id: string, how: string): Promise<void> {
    const started = performance.now();
    try {
      await this.#deployment.startProxy(id);
      this.note(`${id} ${how}, ready after ${duration(performance.now() - started)}`);
    } catch (error) {
      this.note(error instanceof Error ? error.message : String(error));
    }
  }

  #pressed(key: Key): void {
    const newest = [...this.#deployment.proxies.values()].at(-1);
    switch (key) {
      case 'quit':
        this.quit();
        return;
      case 'add':
        void this.#start(this.#deployment.newProxyId(), 'added');
        return;
      case 'kill':
        if (newest !== undefined) newest.service.kill('SIGKILL');
        return;
      case 'drain':
        if (newest !== undefined) this.#deployment.drainProxy(newest);
        return;
    }
  }

  /** Root proxies come and go; the demo cannot do without the other parts. */
  #lost(): Promise<never> {
    const { promise, reject } = Promise.withResolvers<never>();
    const proxies = new Set([...this.#deployment.proxies.values()].map(({ service }) => service));
    for (const service of this.#deployment.services()) {
      if (proxies.has(service)) continue;
      void service.exited.then((exit) => {
        if (!this.#deployment.stopping) reject(service.failure(`${describeExit(exit)}:`));
      });
    }
    return promise;
  }

  #paint(style: Parameters<typeof styleText>[0], text: string): string {
    return this.#color ? styleText(style, text) : text;
  }
}

function gossip(matrix: Matrix | undefined): string {
  return matrix === undefined ? '' : `  (gossip of epoch ${matrix.stamp.epoch}, revision ${matrix.stamp.revision})`;
}

/** What of a matrix is worth another one on paper: who holds what, not how many connections are open. */
function shape(matrix: Matrix): string {
  const rows = matrix.leaves.flatMap(({ leaf, agents }) =>
    agents.map(({ agent, cells }) => [leaf, agent, cells.map(({ state, via }) => [state, via])]),
  );
  return JSON.stringify([matrix.proxies.map(({ proxy, draining, silence }) => [proxy, draining, silence]), rows]);
}
