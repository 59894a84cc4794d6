import { isName } from '@xylem/discovery';
import type { ProxyId } from '@xylem/discovery';

/** Narrows a name from outside; `isName` is stricter than what certificates may say. */
export function isProxyId(text: string): text is ProxyId {
  return isName(text);
}
