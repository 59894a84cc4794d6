import type { StatusError } from '@xylem/grpc';
import { printable } from '@xylem/matrix';
import { CommandError, STATUS } from './exit.ts';

/** gRPC's codes, each with what it makes of the exit status; those that are not here mean `failed`. */
const STATUS_OF_CODE: ReadonlyMap<number, number> = new Map([
  [3, STATUS.usage], // INVALID_ARGUMENT
  [4, STATUS.temporary], // DEADLINE_EXCEEDED
  [5, STATUS.noHost], // NOT_FOUND
  [7, STATUS.denied], // PERMISSION_DENIED
  [8, STATUS.temporary], // RESOURCE_EXHAUSTED
  [13, STATUS.internal], // INTERNAL
  [14, STATUS.unavailable], // UNAVAILABLE
  [16, STATUS.denied], // UNAUTHENTICATED
]);
/** Codes whose text was written for whoever asked. Of the others a person needs to hear who says it, and the code. */
const PLAIN = new Set([3, 5, 6, 9, 10]);

/** Of another plane's port, and of an older version. */
const UNIMPLEMENTED = 12;

/** The answer of a server that refused, for a person: its own words, and an exit status that a script can go by. */
export function refusal(who: string, error: StatusError, remedy = ''): CommandError {
  const { code } = error;
  if (code === UNIMPLEMENTED && remedy !== '') {
    return new CommandError(STATUS.failed, `${who} serves something else there; ${remedy}`, { cause: error });
  }
  const said = PLAIN.has(code) ? printable(error.detail) : `${who} answered ${printable(error.message)}`;
  const text = remedy === '' ? said : `${said}; ${remedy}`;
  return new CommandError(STATUS_OF_CODE.get(code) ?? STATUS.failed, text, { cause: error });
}
