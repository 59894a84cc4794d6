import { EVENT, METRIC } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import { parseHostPort } from '@xylem/service';
import { plainAddress } from '../authority/addresses.ts';
import type { AuthorityPlane } from '../authority/plane.ts';
import type { Replica } from '../replica.ts';
import { createEnrolmentListener } from './listener.ts';
import type { EnrolmentListener } from './listener.ts';
import { enrolmentRoutes } from './routes.ts';
import type { EnrolmentRoute } from './routes.ts';

export interface EnrolmentOptions {
  readonly domain: string;
  readonly plane: AuthorityPlane;
  /** Further ways to call the listener, such as logging in. */
  readonly routes: readonly EnrolmentRoute[];
  /** Whose sessions say which addresses are those of root proxies. */
  readonly replica: Pick<Replica, 'status'>;
  readonly telemetry: Telemetry;
}

/** The enrolment listener with the replica's own certificates, which it follows. Not listening yet. */
export function openEnrolment({ domain, plane, replica, routes, telemetry }: EnrolmentOptions): EnrolmentListener {
  const listener = createEnrolmentListener({
    domain,
    tls: plane.enrolTls,
    routes: [
      ...enrolmentRoutes({ domain, enrolments: plane.enrolments, intermediates: plane.intermediates }),
      ...routes,
    ],
    isRelay: (address) => replica.status().sessions.some((session) => hostOf(session.address) === address),
    onError: (where, cause) => telemetry.log.error(EVENT.internalError, { where, error: cause }),
    onAnswer: (path, code, address) => {
      telemetry.metrics.counter(METRIC.enrolments, { path, code }).add();
      if (code !== 'ok') telemetry.log.info(EVENT.enrolmentRefused, { path, code, address });
    },
  });
  plane.onChange(() => listener.useTls(plane.enrolTls));
  return listener;
}

function hostOf(address: string): string {
  return plainAddress(parseHostPort(address)?.host ?? '');
}
