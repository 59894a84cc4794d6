import { createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { compactVerify } from 'jose';
import * as z from 'zod';
import { readOwnUris } from '../chain.ts';
import { isName, parseIdentity } from '../identity.ts';
import type { TlsMaterial } from '../tls-material.ts';
import { compactJws } from './compact.ts';
import { CLOCK_TOLERANCE_MS } from './types.ts';

/** What one signature of a user's client is good for, beside whose it is. */
export interface ProvenDial {
  /** The root proxy that the user's client talks to, by its certificate. */
  readonly entry: string;
  readonly leaf: string;
  readonly node: string;
  /** 0: the node's only port, whichever that is. */
  readonly port: number;
}

export interface SignedDial extends ProvenDial {
  readonly user: string;
}

const TYPE = 'xylem-dial-proof+jwt';
/** From the signature to the registry it takes milliseconds; the rest is for slow ways. */
const LIFETIME_S = 30;
const MS_PER_SECOND = 1_000;
const MAX_CHARACTERS = 2_048;

const header = z.strictObject({ alg: z.literal('ES256'), typ: z.literal(TYPE) });
const claims = z.strictObject({
  iat: z.int().min(0).max(1e11),
  exp: z.int().min(0).max(1e11),
  sub: z.string(),
  aud: z.string(),
  leaf: z.string().refine(isName),
  node: z.string().refine(isName),
  port: z.int().min(0).max(65_535),
});

/**
 * Signs for one dial with the key of a user's certificate, so that the root proxy on the way can show that the user wants it, and
 * nothing else. Empty when the certificate is nobody's who dials, or its key of another kind.
 */
export function signDial(own: TlsMaterial, domain: string, dial: ProvenDial, nowMs = Date.now()): string {
  const uris = readOwnUris(own.cert);
  const identity = 'kind' in uris ? uris : parseIdentity(uris, domain);
  const key = createPrivateKey(own.key);
  if (identity.kind !== 'user' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') return '';
  const iat = Math.floor(nowMs / MS_PER_SECOND);
  const { entry, leaf, node, port } = dial;
  const content = { iat, exp: iat + LIFETIME_S, sub: `user/${identity.user}`, aud: `proxy/${entry}`, leaf, node, port };
  return compactJws({ alg: 'ES256', typ: TYPE }, content, key);
}

/**
 * Why a text is no signature for this dial by the key of this certificate; undefined when it is. Never rejects.
 *
 * @param key Of the user's certificate, which the caller has verified.
 * @param dial As it is to be made: its port counts for a signature that names none.
 */
export async function flawOfSignedDial(
  text: string,
  key: KeyObject,
  dial: SignedDial,
  nowMs = Date.now(),
): Promise<string | undefined> {
  if (text === '') return 'there is none';
  if (text.length > MAX_CHARACTERS) return `its ${text.length} characters are more than ${MAX_CHARACTERS}`;
  const signed = await readSigned(text, key);
  if (signed === undefined) return "it is not signed by the certificate's key";
  if (signed.sub !== `user/${dial.user}`) return 'it is of another user';
  if (signed.aud !== `proxy/${dial.entry}`) return 'it is for another root proxy';
  const sameTarget = signed.leaf === dial.leaf && signed.node === dial.node;
  if (!sameTarget || (signed.port !== 0 && signed.port !== dial.port)) return 'it is for another dial';
  if (signed.exp - signed.iat > LIFETIME_S) return 'it claims a lifetime that none may have';
  const aheadMs = signed.iat * MS_PER_SECOND - nowMs;
  const lateMs = nowMs - signed.exp * MS_PER_SECOND;
  if (aheadMs <= CLOCK_TOLERANCE_MS && lateMs <= CLOCK_TOLERANCE_MS) return undefined;
  return "it was not made just now; check the clock of the user's machine";
}

async function readSigned(text: string, key: KeyObject): Promise<z.infer<typeof claims> | undefined> {
  try {
    const { payload, protectedHeader } = await compactVerify(text, key, { algorithms: ['ES256'] });
    if (!header.safeParse(protectedHeader).success) return undefined;
    return claims.safeParse(JSON.parse(Buffer.from(payload).toString('utf8'))).data;
  } catch {
    return undefined;
  }
}
