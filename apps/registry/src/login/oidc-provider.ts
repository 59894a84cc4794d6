import { createRemoteJWKSet, customFetch } from 'jose';
import type { JWTVerifyGetKey } from 'jose';
import * as z from 'zod';

/** The OpenID provider cannot be used now. The message is one line. */
export class ProviderError extends Error {
  constructor(detail: string, options?: ErrorOptions) {
    super(`the OpenID provider cannot be used: ${detail}`, options);
    this.name = 'ProviderError';
  }
}

/** What a provider says about itself, as far as it is needed. */
export interface ProviderMetadata {
  readonly issuer: string;
  readonly keys: JWTVerifyGetKey;
}

const FETCH_MS = 5_000;
const MAX_BYTES = 256 * 1024;
/** Keys and endpoints are asked for anew so often, and keys at most twice a minute when an unknown one signs. */
const CACHE_MS = 600_000;
const COOLDOWN_MS = 30_000;

const discovery = z.object({ issuer: z.string(), jwks_uri: z.url() });

/** https, or http to this very machine. */
export function isSafeUrl(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.username !== '' || url.hash !== '') return false;
  if (url.protocol === 'https:') return true;
  return url.protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
}

/** One OpenID provider: its keys, found by discovery and cached. Nothing that is fetched is unbounded in size or time. */
export class OidcProvider {
  readonly #issuer: string;
  #known: { readonly metadata: ProviderMetadata; readonly untilMs: number } | undefined;
  #asking: Promise<ProviderMetadata> | undefined;

  constructor(issuer: string) {
    this.#issuer = issuer;
  }

  /** Rejects with a ProviderError. Calls at the same time share one request. */
  async metadata(): Promise<ProviderMetadata> {
    if (this.#known !== undefined && performance.now() < this.#known.untilMs) return this.#known.metadata;
    this.#asking ??= this.#discover().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #discover(): Promise<ProviderMetadata> {
    const base = this.#issuer.replace(/\/$/, '');
    const response = await boundedFetch(`${base}/.well-known/openid-configuration`);
    if (response.status !== 200) throw new ProviderError(`discovery answered ${response.status}`);
    const parsed = discovery.safeParse(await response.json().catch(() => undefined));
    if (!parsed.success) throw new ProviderError('discovery answered something else');
    const { issuer, jwks_uri: jwks } = parsed.data;
    if (issuer !== this.#issuer) throw new ProviderError('it names itself otherwise than oidc.issuer does');
    if (!isSafeUrl(jwks)) throw new ProviderError('its keys are not served over https');
    const keys = createRemoteJWKSet(new URL(jwks), {
      timeoutDuration: FETCH_MS,
      cooldownDuration: COOLDOWN_MS,
      cacheMaxAge: CACHE_MS,
      [customFetch]: fetchKeys,
    });
    const metadata = { issuer, keys };
    this.#known = { metadata, untilMs: performance.now() + CACHE_MS };
    return metadata;
  }
}

/** Trouble of the provider's is no flaw of the token that is looked at. */
async function fetchKeys(url: string): Promise<Response> {
  const response = await boundedFetch(url);
  if (response.status !== 200) throw new ProviderError(`its keys were answered with ${response.status}`);
  const text = await response.text();
  if (!isJson(text)) throw new ProviderError('its keys are no JSON');
  return new Response(text, { status: 200 });
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

async function boundedFetch(url: string): Promise<Response> {
  try {
    // Who sends us elsewhere could send us anywhere.
    const response = await fetch(url, { signal: AbortSignal.timeout(FETCH_MS), redirect: 'error' });
    return new Response(await boundedBody(response), { status: response.status, headers: response.headers });
  } catch (error) {
    if (error instanceof ProviderError) throw error;
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : '';
    throw new ProviderError(`it does not answer${cause === '' ? '' : ` (${cause})`}`, { cause: error });
  }
}

async function boundedBody(response: Response): Promise<Buffer<ArrayBuffer>> {
  const body: AsyncIterable<unknown> | null = response.body;
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body ?? []) {
    if (!(chunk instanceof Uint8Array)) continue;
    bytes += chunk.byteLength;
    if (bytes > MAX_BYTES) throw new ProviderError('it answers without end');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
