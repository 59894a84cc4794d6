import { status as Status } from '@grpc/grpc-js';
import { health } from '@xylem/wire';
import { StatusError } from './errors.ts';
import { handleServerStream, handleUnary } from './handlers.ts';
import type { MessageStream, MethodBinding } from './api.ts';
import { Signal } from './signal.ts';

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = health.HealthCheckResponse_ServingStatus;

/** grpc.health.v1.Health for a whole server: every service has the server's status. */
export class Health {
  readonly #services: ReadonlySet<string>;
  readonly #watchers = new Set<Signal>();
  #serving = false;
  #stopped = false;

  /** @param services full names besides '', which stands for the server. */
  constructor(services: Iterable<string>) {
    this.#services = new Set(['', ...services]);
  }

  setServing(serving: boolean): void {
    if (this.#serving === serving) return;
    this.#serving = serving;
    this.#wake();
  }

  /** Ends every Watch: they would keep a closing server waiting until its limit. */
  stop(): void {
    this.#serving = false;
    this.#stopped = true;
    this.#wake();
  }

  #wake(): void {
    for (const watcher of this.#watchers) watcher.raise();
  }

  #statusOf(service: string): health.HealthCheckResponse_ServingStatus {
    if (!this.#services.has(service)) return SERVICE_UNKNOWN;
    return this.#serving ? SERVING : NOT_SERVING;
  }

  bindings(): readonly MethodBinding[] {
    return [
      handleUnary(health.HealthService.check, async ({ service }) => {
        const status = this.#statusOf(service);
        if (status === SERVICE_UNKNOWN) throw new StatusError(Status.NOT_FOUND, `unknown service ${service}`);
        return { status };
      }),
      handleServerStream(health.HealthService.watch, ({ service }, stream) => this.#watch(service, stream)),
    ];
  }

  async #watch(service: string, stream: MessageStream<health.HealthCheckResponse, unknown>): Promise<void> {
    const woken = new Signal();
    let open = true;
    void stream.closed.then(() => {
      open = false;
      woken.raise();
    });
    this.#watchers.add(woken);
    try {
      let last: health.HealthCheckResponse_ServingStatus | undefined;
      while (open) {
        const status = this.#statusOf(service);
        if (status !== last) stream.send({ status });
        last = status;
        if (this.#stopped) return;
        await woken.raised();
        // A watcher that does not read gets the newest status when it reads again, not every change.
        await stream.drained();
      }
    } finally {
      this.#watchers.delete(woken);
    }
  }
}
