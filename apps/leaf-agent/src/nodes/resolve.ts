import { readFileSync } from 'node:fs';
import { Resolver as CaresResolver } from 'node:dns/promises';
import { isIP, isIPv4 } from 'node:net';

/** Resolves a host name to every address it has, IPv4 first. Rejects with an Error that has a `code`, as those of node:dns. */
export type Resolver = (host: string, signal: AbortSignal) => Promise<readonly string[]>;

export interface ResolverFiles {
  /** Default /etc/hosts. */
  readonly hosts?: string;
  /** Default /etc/resolv.conf, of which the search list is read here. */
  readonly resolvConf?: string;
  /** `address:port` of name servers, instead of the system's. */
  readonly servers?: readonly string[];
}

/** As in resolv.conf(5): more are not looked at. */
const MAX_SEARCH = 6;
/** Of one query to one server; the dial's own deadline covers all of them together. */
const QUERY = { timeout: 2_000, tries: 3 } as const;

/**
 * A resolver that asks name servers over the event loop (c-ares). getaddrinfo, which node:dns `lookup` uses, blocks one of the four
 * threads of the process for as long as a name server is silent: a few dials to a slow name would then stop files, keys and
 * every other look-up. What getaddrinfo adds, the hosts file and the search list, is done here; other sources of
 * nsswitch.conf are not asked.
 */
export function makeResolver(files: ResolverFiles = {}): Resolver {
  return async (host, signal) => {
    const listed = hostsEntries(readText(files.hosts ?? '/etc/hosts'), host);
    if (listed.length > 0) return listed;
    // RFC 6761, 6.3: never asked of a name server.
    if (/(?:^|\.)localhost\.?$/i.test(host)) return ['127.0.0.1', '::1'];
    const resolver = new CaresResolver(QUERY);
    if (files.servers !== undefined) resolver.setServers([...files.servers]);
    const cancel = (): void => resolver.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      return await searchIn(resolver, searchNames(readText(files.resolvConf ?? '/etc/resolv.conf'), host), signal);
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  };
}

/** Hosts file and name servers of this machine. */
export const systemResolver: Resolver = makeResolver();

/** The first name that exists, with all its addresses. */
async function searchIn(
  resolver: CaresResolver,
  names: readonly string[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  let missing: Error | undefined;
  for (const name of names) {
    signal.throwIfAborted();
    const [v4, v6] = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
    const addresses = [...(v4.status === 'fulfilled' ? v4.value : []), ...(v6.status === 'fulfilled' ? v6.value : [])];
    if (addresses.length > 0) return addresses;
    const reason: unknown = v4.status === 'rejected' ? v4.reason : undefined;
    const error = reason instanceof Error ? reason : new Error('no address');
    // A server that does not answer says nothing about the name: the next one might lead elsewhere.
    if (!isMissing(error)) throw error;
    missing ??= error;
  }
  throw missing ?? new Error('no name to look up');
}

function isMissing(error: Error): boolean {
  return 'code' in error && (error.code === 'ENOTFOUND' || error.code === 'ENODATA');
}

/** Addresses of a name in a hosts file, IPv4 first. */
export function hostsEntries(text: string, host: string): readonly string[] {
  const wanted = host.toLowerCase().replace(/\.$/, '');
  const found = text.split('\n').flatMap((line) => {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    return isIP(address) !== 0 && names.some((name) => name.toLowerCase() === wanted) ? [address] : [];
  });
  return [...found.filter((address) => isIPv4(address)), ...found.filter((address) => !isIPv4(address))];
}

/** Full names to ask for, in order: resolv.conf(5), `search` and `ndots`. */
export function searchNames(resolvConf: string, host: string): readonly string[] {
  if (host.endsWith('.')) return [host.slice(0, -1)];
  let search: string[] = [];
  let ndots = 1;
  for (const line of resolvConf.split('\n')) {
    const [keyword = '', ...values] = line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'search' || keyword === 'domain') search = values.slice(0, MAX_SEARCH);
    if (keyword === 'options') {
      const option = values.map((value) => /^ndots:(\d{1,2})$/.exec(value)?.[1]).find((value) => value !== undefined);
      if (option !== undefined) ndots = Number(option);
    }
  }
  const names = search.map((suffix) => `${host}.${suffix.replace(/\.$/, '')}`);
  const dots = host.split('.').length - 1;
  return dots >= ndots ? [host, ...names] : [...names, host];
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Absent or unreadable: as the system's own resolver, go on without it.
    return '';
  }
}
