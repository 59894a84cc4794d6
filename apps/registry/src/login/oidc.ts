import { RequestError, isUserName, loginNonce, requestedKeyFingerprint } from '@xylem/identity';
import { errors, jwtVerify } from 'jose';
import type { JWTPayload } from 'jose';
import { OidcProvider, ProviderError } from './oidc-provider.ts';

/** `oidc` of the configuration. */
export interface OidcSettings {
  readonly issuer: string;
  readonly clientId: string;
  readonly userClaim: string;
  /** undefined: the provider says nothing about groups. */
  readonly groupsClaim: string | undefined;
  readonly scopes: readonly string[];
}

/** Who somebody is by the word of the provider. */
export interface ExternalIdentity {
  readonly kind: 'identity';
  readonly user: string;
  readonly issuer: string;
  readonly subject: string;
  readonly groups: readonly string[];
}

/** `detail` is one line and holds nothing that the client sent. */
export type OidcVerdict =
  | ExternalIdentity
  | { readonly kind: 'refused'; readonly detail: string }
  | { readonly kind: 'unavailable'; readonly detail: string };

/** Asymmetric ones only: a client's secret must never make a signature, and `none` is no algorithm. */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
/** How far the provider's clock may be off. */
const CLOCK_TOLERANCE_S = 60;
/** A login takes as long as a person needs between the provider and here. */
const MAX_AGE_S = 600;
const MAX_GROUPS = 256;
const MAX_CLAIM = 512;

/** Verifies ID tokens of one OpenID provider (OpenID Connect Core 3.1.3.7). */
export class OidcVerifier {
  readonly settings: OidcSettings;
  readonly #provider: OidcProvider;

  constructor(settings: OidcSettings, provider = new OidcProvider(settings.issuer)) {
    this.settings = settings;
    this.#provider = provider;
  }

  /** @param request PKCS #10 in PEM: the key that the login is for. */
  async verify(idToken: string, salt: string, request: string): Promise<OidcVerdict> {
    const { clientId } = this.settings;
    try {
      const { issuer, keys } = await this.#provider.metadata();
      const { payload } = await jwtVerify(idToken, keys, {
        issuer,
        audience: clientId,
        algorithms: ALGORITHMS,
        clockTolerance: CLOCK_TOLERANCE_S,
        maxTokenAge: MAX_AGE_S,
        requiredClaims: ['sub', 'exp', 'iat', 'nonce'],
      });
      const flaw = this.#flawOf(payload, loginNonce(await requestedKeyFingerprint(request), salt));
      return flaw === undefined ? this.#identityOf(payload, issuer) : refused(flaw);
    } catch (error) {
      return verdictOf(error);
    }
  }

  #flawOf(payload: JWTPayload, nonce: string): string | undefined {
    const { clientId } = this.settings;
    if (payload['nonce'] !== nonce) return 'the ID token was made for another login; log in again';
    // With several audiences the token has to say whom it was given to.
    const audiences = Array.isArray(payload.aud) ? payload.aud.length : 1;
    const { azp } = payload;
    if ((audiences > 1 || azp !== undefined) && azp !== clientId) return 'the ID token was given to another client';
    return undefined;
  }

  #identityOf(payload: JWTPayload, issuer: string): OidcVerdict {
    const { userClaim, groupsClaim } = this.settings;
    const user = payload[userClaim];
    if (typeof user !== 'string')
      return refused(`the ID token has no ${userClaim}; see oidc.userClaim and oidc.scopes`);
    const unverified = verificationFlaw(payload, userClaim);
    if (unverified !== undefined) return refused(unverified);
    // Lower case only once it is ASCII: there are other letters whose lower case is a `k`.
    const name = /^[\x20-\x7e]*$/.test(user) ? user.toLowerCase() : '';
    if (!isUserName(name)) return refused(`${userClaim} is no user name here; use a claim of a-z 0-9 . _ @ -`);
    const subject = payload.sub ?? '';
    if (subject === '' || subject.length > MAX_CLAIM) return refused('the ID token has no subject that can be kept');
    const claimed: unknown = groupsClaim === undefined ? [] : payload[groupsClaim];
    const groups = Array.isArray(claimed) ? claimed.filter((group) => typeof group === 'string') : [];
    if (groups.length > MAX_GROUPS) return refused(`more than ${MAX_GROUPS} groups; let the provider send fewer`);
    return { kind: 'identity', user: name, issuer, subject, groups };
  }
}

/**
 * Why the claim is not to be believed. At many providers people write any address they like into their account: an address that is
 * not said to be verified would be whoever's policy names it. Some providers write booleans as text.
 */
function verificationFlaw(payload: JWTPayload, userClaim: string): string | undefined {
  const verified = payload[`${userClaim}_verified`];
  if (verified === true || verified === 'true') return undefined;
  if (verified === undefined && userClaim !== 'email') return undefined;
  if (verified !== undefined) return `the provider has not verified ${userClaim}`;
  return 'the provider does not say that it verified email; let it send email_verified, or choose another oidc.userClaim';
}

/** Which check failed; never what the token holds. */
function verdictOf(error: unknown): OidcVerdict {
  if (error instanceof ProviderError) return unavailable(error.message);
  if (error instanceof RequestError) return refused(error.message);
  if (error instanceof errors.JWKSTimeout) return unavailable('the OpenID provider does not answer');
  if (error instanceof errors.JWKSInvalid) return unavailable('the OpenID provider serves no keys that can be read');
  if (error instanceof errors.JWTExpired) return refused('the ID token has expired; log in again');
  if (error instanceof errors.JWTClaimValidationFailed) {
    return refused(`the ID token's ${/^[a-z]{1,10}$/.test(error.claim) ? error.claim : 'claims'} cannot be taken`);
  }
  if (error instanceof errors.JOSEError) return refused('the ID token is not signed by the OpenID provider');
  throw error;
}

function refused(detail: string): OidcVerdict {
  return { kind: 'refused', detail };
}

function unavailable(detail: string): OidcVerdict {
  return { kind: 'unavailable', detail };
}
