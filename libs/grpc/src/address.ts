/** A TCP address as configuration and users write it: `host:port`, `1.2.3.4:5`, `[::1]:5`, `:5`. */
export interface HostPort {
  /** Without brackets. Empty only where a listener may leave it out. */
  readonly host: string;
  readonly port: number;
}

/** @throws Error naming the text and what it should look like. */
export function parseAddress(text: string): HostPort {
  const match = /^(?:\[(?<ip6>[0-9a-fA-F:.%\w]+)\]|(?<host>[^:[\]\s/]*)):(?<port>\d{1,5})$/.exec(text);
  const port = Number(match?.groups?.['port']);
  if (match === null || !(port <= 65_535)) {
    throw new Error(`"${text}" is no address; write host:port, for example 127.0.0.1:7200 or [::1]:7200`);
  }
  return { host: match.groups?.['ip6'] ?? match.groups?.['host'] ?? '', port };
}

export function formatAddress({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
