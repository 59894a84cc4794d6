import type { EventEmitter } from 'node:events';

/** Waits for something that has to happen. @throws Error naming it when it does not happen in time. */
export async function within<T>(promise: Promise<T>, what: string, limitMs = 5_000): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`${what} did not happen within ${limitMs} ms`)), limitMs);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves with the first argument of an event; unlike `once` of node:events, an 'error' before it changes nothing. */
export function occurs(emitter: EventEmitter, event: string): Promise<unknown> {
  return new Promise((resolve) => {
    emitter.once(event, resolve);
  });
}
