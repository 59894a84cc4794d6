import type { DialOutcome } from '@xylem/tunnel';

/** Exit statuses of `xylem`; those above 63 are sysexits.h's. */
export const STATUS = {
  ok: 0,
  /** It was tried and did not work; the reason is on stderr. */
  failed: 1,
  /** The command line or the configuration is wrong. */
  usage: 2,
  noHost: 68,
  unavailable: 69,
  internal: 70,
  temporary: 75,
  protocol: 76,
  denied: 77,
} as const;

/** A command cannot do what it was asked; the message is one line and `status` the exit status. */
export class CommandError extends Error {
  readonly status: number;

  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CommandError';
    this.status = status;
  }
}

/** What a dial that failed makes of the exit status. */
export function statusOf(outcome: DialOutcome): number {
  switch (outcome) {
    case 'connected':
      return STATUS.ok;
    case 'no-such-node':
    case 'no-such-leaf':
      return STATUS.noHost;
    case 'refused':
    case 'unreachable':
    case 'leaf-offline':
    case 'tunnel-lost':
      return STATUS.unavailable;
    case 'timed-out':
    case 'overloaded':
      return STATUS.temporary;
    case 'denied':
      return STATUS.denied;
    case 'invalid':
      return STATUS.protocol;
  }
}
