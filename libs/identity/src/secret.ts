import { inspect } from 'node:util';

const REDACTED = '[redacted]';

/**
 * A value that must not reach logs, errors or JSON by accident: string conversion, `util.inspect` and `JSON.stringify`
 * all print `[redacted]`. Whoever needs the value says so with `reveal()`.
 */
export class Secret<T> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}
