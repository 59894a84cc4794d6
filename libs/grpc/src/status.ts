import { status as Status } from '@grpc/grpc-js';
import { carry } from '@xylem/wire';

/**
 * The one table between our reasons and gRPC's status codes. Our own codes travel in messages; a status code speaks only
 * where a stream fails without a last message, so the way back is coarser than the way there.
 */

export type StatusCode = (typeof Status)[keyof typeof Status];

const { Reason, OutcomeCode } = carry;

const STATUS_OF_REASON: Readonly<Record<carry.Reason, StatusCode>> = {
  [Reason.REASON_UNSPECIFIED]: Status.UNKNOWN,
  [Reason.REASON_PEER_RESET]: Status.ABORTED,
  [Reason.REASON_TUNNEL_LOST]: Status.UNAVAILABLE,
  [Reason.REASON_DRAIN_DEADLINE]: Status.ABORTED,
  [Reason.REASON_DATA_LOSS]: Status.DATA_LOSS,
  [Reason.REASON_PROTOCOL_ERROR]: Status.INVALID_ARGUMENT,
  [Reason.REASON_SHUTDOWN]: Status.UNAVAILABLE,
  [Reason.REASON_OVERLOADED]: Status.RESOURCE_EXHAUSTED,
  [Reason.REASON_TIMEOUT]: Status.DEADLINE_EXCEEDED,
  [Reason.REASON_CANCELLED]: Status.CANCELLED,
  [Reason.REASON_CLAIM_HELD]: Status.ALREADY_EXISTS,
  [Reason.REASON_DUPLICATE_ID]: Status.ALREADY_EXISTS,
  [Reason.REASON_VERSION]: Status.FAILED_PRECONDITION,
  [Reason.REASON_DENIED]: Status.PERMISSION_DENIED,
  [Reason.REASON_REPLACED]: Status.ABORTED,
  [Reason.REASON_STALE_INCARNATION]: Status.FAILED_PRECONDITION,
};

const STATUS_OF_OUTCOME: Readonly<Record<carry.OutcomeCode, StatusCode>> = {
  [OutcomeCode.OUTCOME_CODE_UNSPECIFIED]: Status.UNKNOWN,
  [OutcomeCode.OUTCOME_CODE_CONNECTED]: Status.OK,
  [OutcomeCode.OUTCOME_CODE_REFUSED]: Status.UNAVAILABLE,
  [OutcomeCode.OUTCOME_CODE_TIMED_OUT]: Status.DEADLINE_EXCEEDED,
  [OutcomeCode.OUTCOME_CODE_DENIED]: Status.PERMISSION_DENIED,
  [OutcomeCode.OUTCOME_CODE_NO_SUCH_NODE]: Status.NOT_FOUND,
  [OutcomeCode.OUTCOME_CODE_NO_SUCH_LEAF]: Status.NOT_FOUND,
  [OutcomeCode.OUTCOME_CODE_LEAF_OFFLINE]: Status.UNAVAILABLE,
  [OutcomeCode.OUTCOME_CODE_INVALID]: Status.INVALID_ARGUMENT,
  [OutcomeCode.OUTCOME_CODE_OVERLOADED]: Status.RESOURCE_EXHAUSTED,
  [OutcomeCode.OUTCOME_CODE_UNREACHABLE]: Status.UNAVAILABLE,
  [OutcomeCode.OUTCOME_CODE_TUNNEL_LOST]: Status.UNAVAILABLE,
};

interface Meaning {
  /** Why a stream that failed with this code ended. */
  readonly reason: carry.Reason;
  /** What became of a dial whose stream failed with this code before its outcome. */
  readonly outcome: carry.OutcomeCode;
}

const LOST: Meaning = { reason: Reason.REASON_TUNNEL_LOST, outcome: OutcomeCode.OUTCOME_CODE_TUNNEL_LOST };
const BROKEN: Meaning = { reason: Reason.REASON_PROTOCOL_ERROR, outcome: OutcomeCode.OUTCOME_CODE_INVALID };
const DENIED: Meaning = { reason: Reason.REASON_DENIED, outcome: OutcomeCode.OUTCOME_CODE_DENIED };

const MEANING_OF_STATUS: Readonly<Record<StatusCode, Meaning>> = {
  // A stream that ended without its closing message is a loss, whatever its status says.
  [Status.OK]: LOST,
  [Status.CANCELLED]: { reason: Reason.REASON_CANCELLED, outcome: OutcomeCode.OUTCOME_CODE_TUNNEL_LOST },
  [Status.UNKNOWN]: LOST,
  [Status.INVALID_ARGUMENT]: BROKEN,
  [Status.DEADLINE_EXCEEDED]: { reason: Reason.REASON_TIMEOUT, outcome: OutcomeCode.OUTCOME_CODE_TIMED_OUT },
  [Status.NOT_FOUND]: { reason: Reason.REASON_TUNNEL_LOST, outcome: OutcomeCode.OUTCOME_CODE_NO_SUCH_NODE },
  [Status.ALREADY_EXISTS]: { reason: Reason.REASON_DUPLICATE_ID, outcome: OutcomeCode.OUTCOME_CODE_TUNNEL_LOST },
  [Status.PERMISSION_DENIED]: DENIED,
  [Status.RESOURCE_EXHAUSTED]: { reason: Reason.REASON_OVERLOADED, outcome: OutcomeCode.OUTCOME_CODE_OVERLOADED },
  [Status.FAILED_PRECONDITION]: { reason: Reason.REASON_VERSION, outcome: OutcomeCode.OUTCOME_CODE_TUNNEL_LOST },
  [Status.ABORTED]: { reason: Reason.REASON_PEER_RESET, outcome: OutcomeCode.OUTCOME_CODE_TUNNEL_LOST },
  [Status.OUT_OF_RANGE]: BROKEN,
  // The peer does not have the method: it speaks another version of the protocol.
  [Status.UNIMPLEMENTED]: { reason: Reason.REASON_VERSION, outcome: OutcomeCode.OUTCOME_CODE_INVALID },
  [Status.INTERNAL]: LOST,
  [Status.UNAVAILABLE]: LOST,
  [Status.DATA_LOSS]: { reason: Reason.REASON_DATA_LOSS, outcome: OutcomeCode.OUTCOME_CODE_TUNNEL_LOST },
  [Status.UNAUTHENTICATED]: DENIED,
};

export function statusOfReason(reason: carry.Reason): StatusCode {
  return STATUS_OF_REASON[reason] ?? Status.UNKNOWN;
}

export function statusOfOutcome(code: carry.OutcomeCode): StatusCode {
  return STATUS_OF_OUTCOME[code] ?? Status.UNKNOWN;
}

/** @param code a gRPC status code; one that gRPC does not have means a loss. */
export function reasonOfStatus(code: number): carry.Reason {
  return meaningOf(code).reason;
}

/** @param code a gRPC status code; one that gRPC does not have means a loss. */
export function outcomeOfStatus(code: number): carry.OutcomeCode {
  return meaningOf(code).outcome;
}

function meaningOf(code: number): Meaning {
  const meanings: Readonly<Record<number, Meaning>> = MEANING_OF_STATUS;
  return meanings[code] ?? LOST;
}
