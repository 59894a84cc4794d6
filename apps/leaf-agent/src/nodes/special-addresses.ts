import { BlockList, isIPv4, isIPv6 } from 'node:net';

/**
 * Addresses that no name may lead to: the agent's own host, link-local, multicast, unspecified, the forms of IPv6 that embed an
 * IPv4 address (RFC 6890, 6052, 3056, 4380, 4291 2.5.5), and what clouds serve secrets from outside of those. An operator who
 * means one lists it as a literal. Private and shared address space is not among them: nodes live there.
 */
const SPECIAL: readonly (readonly [network: string, prefix: number])[] = [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  // Cloud metadata: most clouds; Alibaba; Oracle and protocol assignments; Azure's host.
  ['169.254.0.0', 16],
  ['100.100.100.200', 32],
  ['192.0.0.0', 24],
  ['168.63.129.16', 32],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  ['::', 96],
  ['::ffff:0:0', 96],
  ['::ffff:0:0:0', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2001::', 32],
  ['2002::', 16],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
  // Cloud metadata over IPv6: AWS, Google.
  ['fd00:ec2::', 32],
  ['fd20:ce::254', 128],
];

const v4 = new BlockList();
const v6 = new BlockList();
for (const [network, prefix] of SPECIAL) {
  if (isIPv6(network)) v6.addSubnet(network, prefix, 'ipv6');
  else v4.addSubnet(network, prefix, 'ipv4');
}

/** Whether a name must not lead to this address. What is no address is special, too. */
export function isSpecialAddress(address: string): boolean {
  const [plain = ''] = address.split('%');
  if (isIPv4(plain)) return v4.check(plain, 'ipv4');
  return !isIPv6(plain) || v6.check(plain, 'ipv6');
}
