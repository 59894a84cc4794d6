import { PassThrough } from 'node:stream';
import { TLSSocket } from 'node:tls';

/**
 * Keeps a failed assertion inside Node from ending the process.
 *
 * TLS or HTTP/2 over a stream that is no socket (a relayed tunnel, the bridge of a client) goes through Node's
 * JSStreamSocket, whose native side may write once more while a connection is being torn down. That breaks an assertion
 * which is thrown from a native callback, where only `uncaughtException` hears of it. Answering the write with ECANCELED
 * instead ends that one connection, which was ending anyway; libuv's code for it is UV_ECANCELED.
 */
const UV_ECANCELED = -125;

type Request = (this: object, ...args: readonly unknown[]) => unknown;

let guarded: boolean | undefined;

/** Once per process. False when this version of Node has no such place: then nothing is guarded. */
export function guardJsStreams(): boolean {
  guarded ??= guardPrototype(jsStreamPrototype());
  return guarded;
}

function guardPrototype(prototype: object | undefined): boolean {
  if (prototype === undefined) return false;
  for (const name of ['doWrite', 'doShutdown']) {
    const original: unknown = Reflect.get(prototype, name);
    if (!isRequest(original)) return false;
    Reflect.set(prototype, name, answering(original));
  }
  return true;
}

/** `original`, but for a broken assertion, which is a failed request. Every other error goes its way. */
export function answering(original: Request): Request {
  return function guardedRequest(this: object, ...args) {
    try {
      return original.call(this, ...args);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ERR_INTERNAL_ASSERTION') return UV_ECANCELED;
      throw error;
    }
  };
}

/** Where Node keeps the stream that a TLS socket wraps, which is not documented. */
function jsStreamPrototype(): object | undefined {
  const probe = new TLSSocket(new PassThrough());
  try {
    const handle: unknown = Reflect.get(probe, '_handle');
    const wrap: unknown = isObject(handle) ? Reflect.get(handle, '_parentWrap') : undefined;
    return isObject(wrap) ? (Reflect.getPrototypeOf(wrap) ?? undefined) : undefined;
  } finally {
    probe.destroy();
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function isRequest(value: unknown): value is Request {
  return typeof value === 'function';
}
