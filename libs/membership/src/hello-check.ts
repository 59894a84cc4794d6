import { LAST_EPOCH, toFence } from './fence.ts';
import { isAddress, isInstanceNonce, isProxyId } from './ids.ts';
import type { Hello, RefusalCode, Stamp } from './messages.ts';
import type { CheckedHello } from './session.ts';
import type { SessionIdentity } from './types.ts';

/** Version of the session protocol spoken here. */
export const PROTOCOL_VERSION = 1;

const SOFTWARE = /^[\x20-\x7e]{0,128}$/;
/** So far below the end that no proxy's word can use the epochs up. */
const MAX_TOLD_EPOCH = LAST_EPOCH - 1_024n;

export interface HelloProblem {
  readonly code: RefusalCode;
  /** Names the field. */
  readonly detail: string;
}

/** Version first (nothing else may be understood), then form, then authority. */
export function checkHello(hello: Hello, identity: SessionIdentity): CheckedHello | HelloProblem {
  if (hello.minVersion > PROTOCOL_VERSION || hello.maxVersion < PROTOCOL_VERSION) {
    return {
      code: 'version',
      detail: `this registry speaks version ${PROTOCOL_VERSION}, the proxy ${hello.minVersion} to ${hello.maxVersion}`,
    };
  }
  const { proxy, instanceNonce: nonce, peerAddress, tunnelAddress, generation, software, incarnation } = hello;
  if (!isProxyId(proxy))
    return invalid(`proxy ${quote(proxy)}: a name is 1 to 63 of a-z, 0-9 and -, and neither starts nor ends with -`);
  if (identity.kind === 'denied') return { code: 'denied', detail: `proxy ${proxy}: ${identity.detail}` };
  if (identity.proxy !== proxy) {
    return { code: 'denied', detail: `proxy ${proxy}: the certificate is for proxy ${identity.proxy}` };
  }
  if (!isInstanceNonce(nonce)) return invalid('instance_nonce: 1 to 64 of letters, digits and ._:-');
  if (!isAddress(peerAddress)) return invalid(`peer_address ${quote(peerAddress)}: host:port wanted`);
  if (!isAddress(tunnelAddress)) return invalid(`tunnel_address ${quote(tunnelAddress)}: host:port wanted`);
  if (!SOFTWARE.test(software)) return invalid('software: at most 128 printable ASCII characters');
  const newestStamp = newest(hello.newestStamp, incarnation);
  if (newestStamp !== undefined && newestStamp.epoch > MAX_TOLD_EPOCH) return invalid('newest_stamp: no such epoch');
  return {
    version: PROTOCOL_VERSION,
    proxy,
    nonce,
    peerAddress,
    tunnelAddress,
    generation,
    software,
    incarnation,
    newestStamp,
  };
}

/** An incarnation is a revision too: the store has certainly reached it. */
function newest(stamp: Stamp | undefined, incarnation: bigint): Stamp | undefined {
  if (incarnation === 0n) return stamp;
  const fence = toFence(incarnation);
  const registered = { epoch: fence.epoch, revision: fence.createRevision };
  if (stamp === undefined || registered.epoch > stamp.epoch) return registered;
  return registered.epoch === stamp.epoch && registered.revision > stamp.revision ? registered : stamp;
}

function invalid(detail: string): HelloProblem {
  return { code: 'invalid', detail };
}

/** Short and on one line, whatever was sent. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}
