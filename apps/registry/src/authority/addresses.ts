import { BlockList, isIP } from 'node:net';

const CIDR = /^([0-9A-Fa-f:.]{2,45})\/([0-9]{1,3})$/;

/** Whether a text is an address range such as `10.0.0.0/8` or `2001:db8::/32`. */
export function isCidr(text: string): boolean {
  const [, network = '', bits = ''] = CIDR.exec(text) ?? [];
  const version = isIP(network);
  return version !== 0 && Number(bits) <= (version === 4 ? 32 : 128);
}

/** Whether an address lies in one of the ranges; none: every address does. */
export function allowsAddress(ranges: readonly string[], address: string): boolean {
  if (ranges.length === 0) return true;
  const plain = plainAddress(address);
  const version = isIP(plain);
  if (version === 0) return false;
  const list = new BlockList();
  for (const range of ranges) {
    const [, network = '', bits = ''] = CIDR.exec(range) ?? [];
    if (isCidr(range)) list.addSubnet(network, Number(bits), isIP(network) === 4 ? 'ipv4' : 'ipv6');
  }
  return list.check(plain, version === 4 ? 'ipv4' : 'ipv6');
}

/** An IPv4 address as such, also where a dual-stack socket writes `::ffff:10.0.0.1`. */
export function plainAddress(address: string): string {
  const [, mapped] = /^::ffff:([0-9.]+)$/i.exec(address) ?? [];
  return mapped ?? address;
}

/** What limits are counted by: an IPv4 address, or the /64 that an IPv6 host can choose its addresses in. */
export function addressGroup(address: string): string {
  const plain = plainAddress(address);
  if (isIP(plain) !== 6) return plain;
  const [head = '', tail = ''] = plain.split('%')[0]?.split('::') ?? [];
  const left = head === '' ? [] : head.split(':');
  const right = tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0');
  return `${[...left, ...zeros, ...right].slice(0, 4).join(':')}::/64`;
}
