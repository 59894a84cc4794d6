import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EnrolmentAddresses } from './enrolment-addresses.ts';

describe('enrolment addresses', () => {
  it('are the registries at the default port until one says otherwise, the one of the session first', () => {
    const addresses = new EnrolmentAddresses(['r1:7100', '[::1]:7100'], undefined);
    assert.deepEqual(addresses.list(), ['r1:7101', '[::1]:7101']);
    addresses.welcomed('[::1]:7100', 8_000);
    assert.deepEqual(addresses.list(), ['[::1]:8000', 'r1:7101']);
    addresses.welcomed('r1:7100', 0);
    assert.deepEqual(addresses.list(), ['[::1]:8000']);
  });

  it('are what is configured, after the registry of the session', () => {
    const addresses = new EnrolmentAddresses(['r1:7100', 'r2:7100'], ['enrol.example:7101']);
    assert.deepEqual(addresses.list(), ['enrol.example:7101']);
    addresses.welcomed('r2:7100', 7_101);
    assert.deepEqual(addresses.list(), ['r2:7101', 'enrol.example:7101']);
  });
});
