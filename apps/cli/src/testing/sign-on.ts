import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { once } from 'node:events';
import { Provider } from 'oidc-provider';

/** A real OpenID provider on this machine, whose users are whatever name is typed in. */
export class LocalProvider {
  readonly issuer: string;
  readonly #server: Server;

  private constructor(issuer: string, server: Server) {
    this.issuer = issuer;
    this.#server = server;
  }

  /** @param groups Of everybody. */
  static async start(groups: readonly string[]): Promise<LocalProvider> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const bound = server.address();
    const issuer = `http://127.0.0.1:${bound !== null && typeof bound === 'object' ? bound.port : 0}`;
    const provider = new Provider(issuer, {
      clients: [
        {
          client_id: 'xylem',
          application_type: 'native',
          token_endpoint_auth_method: 'none',
          // RFC 8252, 7.3: any port of a loopback address.
          redirect_uris: ['http://127.0.0.1/callback'],
          grant_types: ['authorization_code'],
          response_types: ['code'],
        },
      ],
      pkce: { required: () => true },
      // All claims are in the ID token, as most providers have it.
      conformIdTokenClaims: false,
      claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
      cookies: { keys: ['one key of a test'] },
      findAccount: (_context: unknown, id: string) => ({
        accountId: id,
        claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, groups }),
      }),
    });
    const serve = provider.callback();
    server.on('request', (request, response) => void serve(request, response));
    return new LocalProvider(issuer, server);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

const FORM = /<form[^>]* action="([^"]+)"/;
const MAX_STEPS = 12;

/**
 * What a browser and a person do between the address that is printed and the page that says one may go back: follow redirects, keep
 * cookies, type a name, agree. Resolves with the last page.
 */
export async function browse(address: string, name: string): Promise<string> {
  const cookies = new Map<string, string>();
  let next: { readonly url: string; readonly form: URLSearchParams | undefined } = { url: address, form: undefined };
  for (let steps = 0; steps < MAX_STEPS; steps += 1) {
    const response = await fetch(next.url, {
      redirect: 'manual',
      headers: { cookie: [...cookies].map(([key, value]) => `${key}=${value}`).join('; ') },
      ...(next.form === undefined ? {} : { method: 'POST', body: next.form }),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, key = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      cookies.set(key, value);
    }
    const location = response.headers.get('location');
    const page = await response.text();
    if (location !== null) {
      next = { url: new URL(location, next.url).href, form: undefined };
      continue;
    }
    const [, action] = FORM.exec(page) ?? [];
    if (action === undefined) return page;
    const fields = page.includes('name="login"')
      ? { prompt: 'login', login: name, password: 'x' }
      : { prompt: 'consent' };
    next = { url: new URL(action, next.url).href, form: new URLSearchParams(fields) };
  }
  throw new Error(`the provider asked for more than ${MAX_STEPS} steps`);
}
