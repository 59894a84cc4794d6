/** What a request says of who is asking, beside a client certificate. */
export type ShownLogin =
  | { readonly kind: 'none' }
  /** `user`: whom the token must belong to; undefined where the scheme does not say. */
  | { readonly kind: 'token'; readonly token: string; readonly user: string | undefined }
  /** One line for the person at the other end; holds nothing of what was sent. */
  | { readonly kind: 'malformed'; readonly problem: string };

const HEADER = 'proxy-authorization';
/** RFC 6750, 2.1, and RFC 7617: scheme, one space, token68. */
const CREDENTIALS = /^([A-Za-z]{1,16}) ([A-Za-z0-9._~+/-]+=*)$/;
/** A statement is longer than a password that somebody took for one. */
const TOKEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/**
 * Reads the access token of a request: `Bearer <token>`, or `Basic` with the user's name and the token as password, for clients that know
 * nothing else. Exactly one header; two could be read differently by two readers.
 *
 * @param rawHeaders Names and values in turn, as sent.
 */
export function shownLogin(rawHeaders: readonly string[]): ShownLogin {
  const values: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.toLowerCase() === HEADER) values.push(rawHeaders[index + 1] ?? '');
  }
  const [value] = values;
  if (value === undefined) return { kind: 'none' };
  if (values.length > 1) return malformed('the request has more than one Proxy-Authorization header');
  const [, scheme = '', credentials = ''] = CREDENTIALS.exec(value) ?? [];
  switch (scheme.toLowerCase()) {
    case 'bearer':
      return shownToken(credentials, undefined);
    case 'basic':
      return shownPair(credentials);
    default:
      return malformed('Proxy-Authorization is neither Bearer nor Basic');
  }
}

function shownPair(credentials: string): ShownLogin {
  const pair = Buffer.from(credentials, 'base64').toString('utf8');
  const colon = pair.indexOf(':');
  if (colon === -1) return malformed('Basic credentials are a user name, a colon and the access token');
  return shownToken(pair.slice(colon + 1), pair.slice(0, colon));
}

function shownToken(token: string, user: string | undefined): ShownLogin {
  if (TOKEN.test(token)) return { kind: 'token', token, user };
  return malformed('that is no access token; passwords are taken by xylem login only, which gives one');
}

function malformed(problem: string): ShownLogin {
  return { kind: 'malformed', problem };
}
