import { parseHostPort } from '@xylem/service';

const DEFAULT_PORT = 7101;

/** Where registries enrol: what the configuration says, and what a registry told of itself in its welcome. */
export class EnrolmentAddresses {
  readonly #registries: readonly string[];
  readonly #configured: readonly string[] | undefined;
  /** By the registry's address. 0: it said that it serves no enrolment. */
  readonly #ports = new Map<string, number>();
  #current: string | undefined;

  /**
   * @param registries host:port of each registry's service.
   * @param configured `identity.enrol`; undefined: the hosts of `registries` at port 7101.
   */
  constructor(registries: readonly string[], configured: readonly string[] | undefined) {
    this.#registries = registries;
    this.#configured = configured;
  }

  /** The session is with this registry now, and it enrols at `port` of the same host. */
  welcomed(registry: string, port: number): void {
    this.#current = registry;
    this.#ports.set(registry, port);
  }

  /** host:port, the registry of the session first. */
  list(): readonly string[] {
    const current = this.#current === undefined ? undefined : this.#told(this.#current);
    const others = this.#configured ?? this.#registries.flatMap((registry) => this.#told(registry) ?? []);
    return [...new Set(current === undefined ? others : [current, ...others])];
  }

  #told(registry: string): string | undefined {
    const port = this.#ports.get(registry) ?? DEFAULT_PORT;
    const host = parseHostPort(registry)?.host;
    if (host === undefined || port === 0) return undefined;
    return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  }
}
