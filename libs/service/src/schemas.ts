import { accessSync, constants, statSync } from 'node:fs';
import { isIPv4, isIPv6 } from 'node:net';
import * as z from 'zod';

const HOST_NAME = /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})?)*\.?$/;
/** As URLs have it: what ends in a number is an address or nothing, so that 0x7f.1 and 0177.1 are no names for 127.0.0.1. */
const NUMERIC_END = /(?:^|\.)(?:\d+|0[xX][0-9A-Fa-f]*)\.?$/;
const PORT_MAX = 65_535;

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Splits `host:port` or `[v6]:port`; undefined when it is neither. Port 0 means: any free port. */
export function parseHostPort(text: string): HostPort | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const [, v6, hostName, digits] = match;
  const port = Number(digits);
  if (port > PORT_MAX) return undefined;
  if (v6 !== undefined) return isIPv6(v6) ? { host: v6, port } : undefined;
  if (hostName === undefined || !(isIPv4(hostName) || (HOST_NAME.test(hostName) && !NUMERIC_END.test(hostName))))
    return undefined;
  return { host: hostName, port };
}

/** `host:port` to listen on or to dial; kept as text. */
export function address(options: { readonly example: string; readonly allowPortZero?: boolean }) {
  return z.string().superRefine((text, context) => {
    const parsed = parseHostPort(text);
    const remedy = `write host:port, for example ${options.example}`;
    if (parsed === undefined)
      context.addIssue({ code: 'custom', message: `${JSON.stringify(text)} is not an address; ${remedy}` });
    else if (parsed.port === 0 && options.allowPortZero !== true) {
      context.addIssue({ code: 'custom', message: `port 0 cannot be reached; ${remedy}` });
    }
  });
}

/** An address to listen on; port 0 takes any free port. */
export function listenAddress(example: string) {
  return address({ example, allowPortZero: true });
}

/** 1 to 63 of `[a-z0-9-]`, not starting or ending with `-`: leaf clusters, agents, proxies, registries, nodes. */
export function name() {
  return z.string().superRefine((text, context) => {
    if (!/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(text)) {
      const remedy = 'use 1 to 63 of a-z 0-9 -, with no - at the ends';
      context.addIssue({ code: 'custom', message: `${JSON.stringify(text)} is not a name; ${remedy}` });
    }
  });
}

/** A lower-case DNS name. */
export function domainName() {
  return z.string().superRefine((text, context) => {
    if (text !== text.toLowerCase() || text.endsWith('.') || text.includes('_') || !HOST_NAME.test(text)) {
      context.addIssue({
        code: 'custom',
        message: `${JSON.stringify(text)} is not a lower-case DNS name such as xylem.internal`,
      });
    }
  });
}

/** Path of a file that exists and that this process may read. */
export function readableFile() {
  return z.string().superRefine((path, context) => {
    const problem = fileProblem(path);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: `${JSON.stringify(path)} ${problem}` });
  });
}

function fileProblem(path: string): string | undefined {
  try {
    if (statSync(path).isDirectory()) return 'is a directory; name a file';
    accessSync(path, constants.R_OK);
    return undefined;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ENOTDIR')
      return 'does not exist; check the path, which is relative to the working directory';
    return 'cannot be read by this user; check its owner and mode';
  }
}

/** A duration in whole milliseconds. */
export function durationMs(options: { readonly min?: number; readonly max?: number } = {}) {
  const { min = 1, max = 2 ** 31 - 1 } = options;
  return z.number().superRefine((value, context) => {
    if (!Number.isInteger(value) || value < min || value > max) {
      context.addIssue({
        code: 'custom',
        message: `${value} is not a whole number of milliseconds from ${min} to ${max}`,
      });
    }
  });
}

/** An http or https base URL. */
export function httpUrl(example: string) {
  return z.string().superRefine((text, context) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
      context.addIssue({
        code: 'custom',
        message: `${JSON.stringify(text)} is not an http(s) URL, for example ${example}`,
      });
    } else if (url.username !== '' || url.password !== '') {
      context.addIssue({
        code: 'custom',
        message: 'a URL here holds no user or password: secrets come from files only',
      });
    }
  });
}
