import { isProxyName } from '@xylem/discovery';
import type { ProxyId } from '@xylem/discovery';

/** Narrows a name from outside; stricter than what certificates may say. */
export function isProxyId(text: string): text is ProxyId {
  return isProxyName(text);
}
