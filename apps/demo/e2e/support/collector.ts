import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { json } from 'node:stream/consumers';
import { z } from 'zod';

const exported = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({
        attributes: z.array(z.object({ key: z.string(), value: z.object({ stringValue: z.string().optional() }) })),
      }),
      scopeSpans: z.array(
        z.object({
          spans: z.array(
            z.object({
              name: z.string(),
              traceId: z.string(),
              spanId: z.string(),
              parentSpanId: z.string().optional(),
            }),
          ),
        }),
      ),
    }),
  ),
});

export interface Span {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string | undefined;
  /** Who exported it: `p1`, `berlin/a1`. */
  readonly instance: string;
}

/** Takes spans as a collector does: OTLP over HTTP, JSON, POST /v1/traces. */
export class Collector {
  readonly spans: Span[] = [];
  endpoint = '';
  readonly #waiters = new Set<() => void>();
  readonly #server: Server = createServer((request, response) => {
    void json(request).then((body) => {
      if (request.method === 'POST' && request.url === '/v1/traces') this.#take(exported.parse(body));
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  });

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (address !== null && typeof address === 'object') this.endpoint = `http://127.0.0.1:${address.port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** Resolves with what `find` finds, now or after a later export. Rejects after the deadline. */
  until<T>(what: string, find: (spans: readonly Span[]) => T | undefined, deadlineMs: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = find(this.spans);
        if (found === undefined) return;
        clearTimeout(timer);
        this.#waiters.delete(look);
        resolve(found);
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(look);
        const seen = this.spans.map(({ instance, name }) => `${instance} ${name}`).join(', ');
        reject(new Error(`not within ${deadlineMs} ms: ${what}; there are ${seen}`));
      }, deadlineMs);
      this.#waiters.add(look);
      look();
    });
  }

  #take({ resourceSpans }: z.output<typeof exported>): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      const instance = resource.attributes.find(({ key }) => key === 'service.instance.id')?.value.stringValue ?? '';
      for (const { spans } of scopeSpans) this.spans.push(...spans.map((span) => ({ ...span, instance })));
    }
    for (const look of [...this.#waiters]) look();
  }
}
