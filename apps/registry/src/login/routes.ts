import { isUserName } from '@xylem/identity';
import * as z from 'zod';
import { answerOf, parseBody } from '../enrolment/routes.ts';
import type { EnrolmentRoute } from '../enrolment/routes.ts';
import type { LoggedIn, Logins } from './logins.ts';

const MAX_REQUEST_TEXT = 2_000;
/** What a listener takes leaves this much beside the certificate request. */
const MAX_ID_TOKEN = 6_000;
const SALT = /^[A-Za-z0-9_-]{43}$/;

const certificateRequest = z.string().min(1).max(MAX_REQUEST_TEXT);
const passwordBody = z.strictObject({
  user: z.string().refine(isUserName),
  password: z.string().min(1).max(1_024),
  request: certificateRequest,
});
const oidcBody = z.strictObject({
  idToken: z.string().min(1).max(MAX_ID_TOKEN),
  salt: z.string().regex(SALT),
  request: certificateRequest,
});

const PASSWORD_SHAPE = 'send {"user", "password", "request"} and nothing else';
const OIDC_SHAPE = 'send {"idToken", "salt", "request"} and nothing else';

/** Logins: docs/PROTOCOL.md, "Enrolment". */
export function loginRoutes(logins: Logins, domain: string): readonly EnrolmentRoute[] {
  return [
    {
      method: 'GET',
      path: '/v1/login',
      handle: () => Promise.resolve({ password: true, ...oidcOf(logins) }),
    },
    {
      method: 'POST',
      path: '/v1/login',
      handle: async ({ body, address }) => {
        const { user, password, request } = parseBody(passwordBody, body, PASSWORD_SHAPE);
        return loginAnswer(await logins.withPassword(user, password, request, address), domain);
      },
    },
    {
      method: 'POST',
      path: '/v1/login/oidc',
      handle: async ({ body, address }) => {
        const { idToken, salt, request } = parseBody(oidcBody, body, OIDC_SHAPE);
        return loginAnswer(await logins.withIdToken(idToken, salt, request, address), domain);
      },
    },
  ];
}

function oidcOf({ oidc }: Logins): object {
  if (oidc === undefined) return {};
  const { issuer, clientId, scopes } = oidc.settings;
  return { oidc: { issuer, clientId, scopes } };
}

function loginAnswer({ enrolled, accessToken }: LoggedIn, domain: string): object {
  return {
    ...answerOf(enrolled, domain),
    accessToken: accessToken.token.reveal(),
    accessTokenNotAfterMs: accessToken.notAfterMs,
  };
}
