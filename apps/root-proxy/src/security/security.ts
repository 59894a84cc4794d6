import type { TlsSource } from '@xylem/grpc';
import { UserProofs } from '@xylem/identity';
import { EVENT, METRIC } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import type { registry as wire } from '@xylem/wire';
import type { Dials } from '../dials/dials.ts';
import type { Link } from '../registry/link.ts';
import { DialAuthority } from './dial-authority.ts';
import { PolicyGate } from './policy-gate.ts';
import type { Revoked } from './revoked.ts';
import { StandingGrants } from './standing-grants.ts';

export interface SecurityParts {
  readonly domain: string;
  readonly tls: TlsSource;
  readonly telemetry: Telemetry;
  readonly revoked: Revoked;
  readonly link: () => Pick<Link, 'authoriseDial' | 'standingGrant'>;
  readonly dials: () => Pick<Dials, 'cutDenied'>;
}

/** What decides about dials at this root proxy, and what the registries say about that. */
export class Security {
  readonly gate: PolicyGate;
  readonly standing: StandingGrants;
  readonly authority: DialAuthority;
  readonly proofs: UserProofs;
  readonly #parts: SecurityParts;
  #intermediates: readonly Uint8Array[] = [];

  constructor(parts: SecurityParts) {
    const { domain, tls, telemetry, revoked, link } = parts;
    const { log, metrics } = telemetry;
    this.#parts = parts;
    this.gate = new PolicyGate((detail) => log.error(EVENT.policyUnreadable, { detail }));
    this.standing = new StandingGrants({
      ask: (leaf, deadlineMs) => link().standingGrant(leaf, deadlineMs),
      onProblem: (leaf, detail) => log.warn(EVENT.standingGrantFailed, { leaf, detail }),
    });
    this.proofs = new UserProofs({
      domain,
      trust: () => tls.current().ca,
      intermediates: () => this.#intermediates,
      refusal: (identity, issuedAtMs) => revoked.refusalOf(identity, issuedAtMs),
    });
    this.authority = new DialAuthority({
      gate: this.gate,
      proofs: this.proofs,
      ask: (request, deadlineMs) => link().authoriseDial(request, deadlineMs),
      standing: (leaf) => this.standing.get(leaf),
      answered: (how, tookMs) => metrics.histogram(METRIC.grantSeconds, { how }).record(tookMs / 1_000),
    });
  }

  /** Told by the registry: what it changes here takes effect at once, for what is open as well. */
  update(security: wire.Security): void {
    const { revoked, dials, telemetry } = this.#parts;
    this.#intermediates = security.intermediates;
    revoked.update(security);
    if (!this.gate.update(security)) return;
    this.standing.renewAll();
    const cut = this.gate.cutsOpenConnections ? dials().cutDenied() : 0;
    telemetry.log.info(EVENT.policyChanged, { version: security.policyVersion, cut });
  }
}
