import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status as Status } from '@grpc/grpc-js';
import { carry } from '@xylem/wire';
import { outcomeOfStatus, reasonOfStatus, statusOfOutcome, statusOfReason } from './status.ts';

const codes = Object.values(Status).filter((code) => typeof code === 'number');
const reasons = Object.values(carry.Reason);
const outcomes = Object.values(carry.OutcomeCode);

test('gives every reason and outcome a status code, and every status code a reason and outcome', () => {
  for (const reason of reasons) assert.ok(codes.includes(statusOfReason(reason)));
  for (const outcome of outcomes) assert.ok(codes.includes(statusOfOutcome(outcome)));
  for (const code of codes) {
    assert.ok(reasons.includes(reasonOfStatus(code)));
    assert.ok(outcomes.includes(outcomeOfStatus(code)));
  }
});

test('only a connected dial is OK, and no failure becomes a success on the way back', () => {
  for (const outcome of outcomes) {
    assert.equal(statusOfOutcome(outcome) === Status.OK, outcome === carry.OutcomeCode.OUTCOME_CODE_CONNECTED);
  }
  for (const reason of reasons) assert.notEqual(statusOfReason(reason), Status.OK);
  for (const code of codes) assert.notEqual(outcomeOfStatus(code), carry.OutcomeCode.OUTCOME_CODE_CONNECTED);
});

test('reads a code that gRPC does not have as a loss', () => {
  assert.equal(reasonOfStatus(99), carry.Reason.REASON_TUNNEL_LOST);
  assert.equal(outcomeOfStatus(-1), carry.OutcomeCode.OUTCOME_CODE_TUNNEL_LOST);
});
