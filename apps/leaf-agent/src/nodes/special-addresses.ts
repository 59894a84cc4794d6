import { BlockList, isIPv6 } from 'node:net';

/**
 * Addresses that no name may lead to: the agent's own host, link-local (cloud metadata), multicast, unspecified, and the
 * forms of IPv6 that embed an IPv4 address (RFC 6890, 6052, 3056, 4380). An operator who means one lists it as a literal.
 */
const SPECIAL: readonly (readonly [network: string, prefix: number])[] = [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  ['::', 128],
  ['::1', 128],
  ['::ffff:0:0', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2001::', 32],
  ['2002::', 16],
  ['fe80::', 10],
  ['ff00::', 8],
];

const v4 = new BlockList();
const v6 = new BlockList();
for (const [network, prefix] of SPECIAL) {
  if (isIPv6(network)) v6.addSubnet(network, prefix, 'ipv6');
  else v4.addSubnet(network, prefix, 'ipv4');
}

/** Whether a name must not lead to this address. */
export function isSpecialAddress(address: string): boolean {
  return isIPv6(address) ? v6.check(address, 'ipv6') : v4.check(address, 'ipv4');
}
