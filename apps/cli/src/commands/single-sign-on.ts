import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { Secret } from '@xylem/identity';
import type { WaysIn } from '@xylem/identity';
import { printable } from '@xylem/matrix';
import * as oidc from 'openid-client';
import { CommandError, STATUS } from '../exit.ts';

export interface SignOnOptions {
  readonly ways: NonNullable<WaysIn['oidc']>;
  /** Binds the ID token to the key of the login. */
  readonly nonce: string;
  readonly note: (text: string) => void;
  /** False: only print the address. */
  readonly browser: boolean;
  /** How long a person may take. Default five minutes. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 300_000;
const PATH = '/callback';
const PAGE = '<!doctype html><meta charset="utf-8"><title>Xylem</title><p>';

/**
 * Fetches an ID token by the authorization code flow with PKCE (RFC 8252: the browser comes back to a loopback address of this
 * machine). Rejects with a CommandError.
 */
export async function fetchIdToken(options: SignOnOptions): Promise<Secret<string>> {
  const { ways, nonce, note } = options;
  const config = await discover(ways);
  const server = createServer({ requestTimeout: 5_000 });
  try {
    const redirect = `http://127.0.0.1:${await listen(server)}${PATH}`;
    const verifier = oidc.randomPKCECodeVerifier();
    const state = oidc.randomState();
    const scope = [...new Set(['openid', ...ways.scopes])].join(' ');
    const address = oidc.buildAuthorizationUrl(config, {
      redirect_uri: redirect,
      scope,
      nonce,
      state,
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    });
    note(`log in with your browser:\n  ${address.href}\n`);
    if (options.browser) openBrowser(address.href);
    const returned = await callback(server, redirect, state, options.timeoutMs ?? TIMEOUT_MS);
    const checks = { pkceCodeVerifier: verifier, expectedNonce: nonce, expectedState: state, idTokenExpected: true };
    const { id_token: idToken } = await oidc.authorizationCodeGrant(config, returned, checks);
    if (idToken === undefined) throw new Error('no ID token came');
    return new Secret(idToken);
  } catch (error) {
    throw explained(error, ways.issuer);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

async function discover({ issuer, clientId }: SignOnOptions['ways']): Promise<oidc.Configuration> {
  const url = new URL(issuer);
  // A registry takes http issuers on loopback only; somebody else's word for it is not enough.
  const isLocal = url.protocol === 'http:' && ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname);
  // Deprecated by its authors to make it stand out, for just this use.
  // oxlint-disable-next-line typescript/no-deprecated
  const options = isLocal ? { execute: [oidc.allowInsecureRequests] } : {};
  return oidc.discovery(url, clientId, undefined, oidc.None(), options);
}

async function listen(server: Server): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  const bound = server.address();
  return bound !== null && typeof bound === 'object' ? bound.port : 0;
}

/** The address that the browser came back with. Whatever else asks here is answered and passed over. */
async function callback(server: Server, redirect: string, state: string, timeoutMs: number): Promise<URL> {
  const { promise, resolve, reject } = Promise.withResolvers<URL>();
  const late = setTimeout(() => {
    reject(new CommandError(STATUS.temporary, `nobody logged in within ${Math.round(timeoutMs / 1_000)} s; try again`));
  }, timeoutMs);
  server.on('request', (request, response) => {
    const url = URL.canParse(request.url ?? '', redirect) ? new URL(request.url ?? '', redirect) : undefined;
    const isOurs = request.method === 'GET' && url?.pathname === PATH && url.searchParams.get('state') === state;
    response.writeHead(isOurs ? 200 : 404, {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': "default-src 'none'",
      'cache-control': 'no-store',
      connection: 'close',
    });
    response.end(`${PAGE}${isOurs ? 'You can close this window and go back to the terminal.' : 'Not found.'}</p>`);
    if (isOurs && url !== undefined) resolve(url);
  });
  try {
    return await promise;
  } finally {
    clearTimeout(late);
  }
}

/** The address holds nothing secret: the code comes back to this process, and is worth nothing without the verifier in it. */
function openBrowser(address: string): void {
  const command = process.platform === 'darwin' ? 'open' : 'xdg-open';
  const child = spawn(command, [address], { stdio: 'ignore', detached: true });
  // Without a browser the address was printed.
  child.once('error', () => undefined);
  child.unref();
}

function explained(error: unknown, issuer: string): unknown {
  if (error instanceof CommandError) return error;
  const detail = error instanceof Error ? error.message : String(error);
  return new CommandError(STATUS.failed, `single sign-on at ${printable(issuer)}: ${printable(detail)}`, {
    cause: error,
  });
}
