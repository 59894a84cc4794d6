import { ATTRIBUTE, EVENT, SPAN } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import type { Parts } from './parts.ts';

/** How long the registry may take to remove our records, and the last messages to leave. */
const LEAVE_MS = 2_000;

/**
 * Leaves in order: announced first, closed last.
 *
 * 1. No new users, no new agents; health says so. 2. The registry marks us draining, agents are told and claim their
 * replacements. 3. Open connections finish, until the deadline. 4. GOODBYE, and our records are removed.
 */
export async function drainAndStop(
  parts: Parts,
  drain: { readonly spreadMs: number; readonly deadlineMs: number },
  telemetry: Telemetry,
): Promise<void> {
  const { link, plane, dials, relays, listener, frontDoor, servers } = parts;
  const openConnections = dials.openConnections;
  const span = telemetry.tracing.startSpan(SPAN.drain, {
    attributes: { [ATTRIBUTE.openConnections]: openConnections },
  });
  telemetry.log.info(EVENT.drainStarted, { ...drain, tunnels: plane.size, openConnections });
  frontDoor.close();
  listener.close();
  for (const server of Object.values(servers)) server.setServing(false);
  // Takes no new users; the deadline of the connections comes first.
  void servers.access.close(drain.deadlineMs + LEAVE_MS);
  await withDeadline(
    Promise.all([plane.drain(drain.spreadMs, drain.deadlineMs), dials.idle(), relays.idle()]),
    drain.deadlineMs,
  );
  const cut = dials.openConnections;
  dials.abortAll('drain-deadline', 'the root proxy stops and the time to finish is over');
  plane.stop();
  relays.abortAll();
  await withDeadline(Promise.all([dials.idle(), link.leave(LEAVE_MS)]), LEAVE_MS);
  telemetry.log.info(EVENT.drainFinished, { cutConnections: cut });
  span.end();
}

async function withDeadline(work: Promise<unknown>, deadlineMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, deadlineMs);
  await Promise.race([work, promise]);
  clearTimeout(timer);
}
