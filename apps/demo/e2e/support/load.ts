import { setTimeout as pause } from 'node:timers/promises';
import { EchoConnection } from '../../src/check/echo.ts';

/** What a load came to. */
export interface LoadReport {
  readonly connections: number;
  /** Messages that came back as they were sent. */
  readonly messages: number;
  /** One line for each connection that was cut, or garbled. */
  readonly failures: readonly string[];
}

const PAUSE_MS = 40;

/** Connections to an echo node that are kept open and busy while things happen under them. */
export class EchoLoad {
  readonly #connections: EchoConnection[] = [];
  readonly #failures: string[] = [];
  readonly #running: Promise<void>[] = [];
  #messages = 0;
  #stopping = false;

  /** Opens `count` connections through each front door; resolves when all are open. */
  static async start(frontDoors: readonly string[], authority: string, count: number): Promise<EchoLoad> {
    const load = new EchoLoad();
    for (const frontDoor of frontDoors) {
      for (let index = 0; index < count; index += 1) {
        const connection = await EchoConnection.open(frontDoor, authority);
        load.#connections.push(connection);
        load.#running.push(load.#run(connection, `${frontDoor} #${index}`));
      }
    }
    return load;
  }

  get failures(): readonly string[] {
    return this.#failures;
  }

  /** Ends every connection in order. */
  async stop(): Promise<LoadReport> {
    this.#stopping = true;
    await Promise.all(this.#running);
    return { connections: this.#connections.length, messages: this.#messages, failures: this.#failures };
  }

  /** Waits until something else has ended every connection. Rejects when one is still open after the deadline. */
  async cut(deadlineMs: number): Promise<LoadReport> {
    const over = new AbortController();
    const late = pause(deadlineMs, 'late', { signal: over.signal });
    const first = await Promise.race([Promise.all(this.#running), late.catch(() => undefined)]);
    over.abort();
    if (first === 'late') throw new Error(`connections are still open after ${deadlineMs} ms`);
    return this.stop();
  }

  async #run(connection: EchoConnection, name: string): Promise<void> {
    try {
      while (!this.#stopping) {
        await connection.exchange();
        this.#messages += 1;
        await pause(PAUSE_MS);
      }
      await connection.end();
    } catch (error) {
      this.#failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
      connection.close();
    }
  }
}
