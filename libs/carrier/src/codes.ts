import type { DialOutcome, ResetReason } from '@xylem/tunnel';
import { carry } from '@xylem/wire';

const { OutcomeCode, Reason } = carry;

const OUTCOME_TO_WIRE: Readonly<Record<DialOutcome, carry.OutcomeCode>> = {
  connected: OutcomeCode.OUTCOME_CODE_CONNECTED,
  refused: OutcomeCode.OUTCOME_CODE_REFUSED,
  'timed-out': OutcomeCode.OUTCOME_CODE_TIMED_OUT,
  denied: OutcomeCode.OUTCOME_CODE_DENIED,
  'no-such-node': OutcomeCode.OUTCOME_CODE_NO_SUCH_NODE,
  'no-such-leaf': OutcomeCode.OUTCOME_CODE_NO_SUCH_LEAF,
  'leaf-offline': OutcomeCode.OUTCOME_CODE_LEAF_OFFLINE,
  invalid: OutcomeCode.OUTCOME_CODE_INVALID,
  overloaded: OutcomeCode.OUTCOME_CODE_OVERLOADED,
  unreachable: OutcomeCode.OUTCOME_CODE_UNREACHABLE,
  'tunnel-lost': OutcomeCode.OUTCOME_CODE_TUNNEL_LOST,
};

const REASON_TO_WIRE: Readonly<Record<ResetReason, carry.Reason>> = {
  'peer-reset': Reason.REASON_PEER_RESET,
  'tunnel-lost': Reason.REASON_TUNNEL_LOST,
  'drain-deadline': Reason.REASON_DRAIN_DEADLINE,
  'data-loss': Reason.REASON_DATA_LOSS,
  'protocol-error': Reason.REASON_PROTOCOL_ERROR,
  shutdown: Reason.REASON_SHUTDOWN,
  overloaded: Reason.REASON_OVERLOADED,
  timeout: Reason.REASON_TIMEOUT,
  cancelled: Reason.REASON_CANCELLED,
  denied: Reason.REASON_DENIED,
  'stale-incarnation': Reason.REASON_STALE_INCARNATION,
};

const OUTCOME_FROM_WIRE = invert(OUTCOME_TO_WIRE);
const REASON_FROM_WIRE = invert(REASON_TO_WIRE);

function invert<Name extends string, Code>(table: Readonly<Record<Name, Code>>): ReadonlyMap<Code, Name> {
  const names = new Map<Code, Name>();
  for (const name in table) names.set(table[name], name);
  return names;
}

export function outcomeToWire(outcome: DialOutcome): carry.OutcomeCode {
  return OUTCOME_TO_WIRE[outcome];
}

/** undefined: not a code of this version; the sender broke the protocol. */
export function outcomeFromWire(code: number): DialOutcome | undefined {
  for (const [known, name] of OUTCOME_FROM_WIRE) if (known === code) return name;
  return undefined;
}

export function reasonToWire(reason: ResetReason): carry.Reason {
  return REASON_TO_WIRE[reason];
}

/** A reason of a later version, or one that concerns tunnels only, still is a reset by the other end. */
export function reasonFromWire(code: number): ResetReason {
  for (const [known, name] of REASON_FROM_WIRE) if (known === code) return name;
  return 'peer-reset';
}
