import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { createServer, handleDuplex } from '@xylem/grpc';
import type { GrpcServer } from '@xylem/grpc';
import { memoryTlsSource } from '@xylem/identity';
import { HOSTILE_MESSAGES, mutated, retainedHeapBytes } from '@xylem/testkit';
import { RawFrameMethods, TunnelService, tunnel } from '@xylem/wire';
import { startTestAgent } from './testing/agent.ts';
import type { TestAgent } from './testing/agent.ts';
import { makeIdentity, Mailbox, soon } from './testing/root.ts';
import type { TestIdentity } from './testing/root.ts';

/** A root proxy of the trusted authority that sends rubbish on every stream that an agent reads. The agent goes on. */

const asBytes = (bytes: Buffer): Buffer => bytes;
const codec = {
  requestSerialize: asBytes,
  requestDeserialize: asBytes,
  responseSerialize: asBytes,
  responseDeserialize: asBytes,
};
const attachMethod = { ...TunnelService.attach, ...codec };

/** A root proxy that is dialled again at once, whatever it did. */
const QUICK = { discovery: { backoffMinMs: 1, backoffMaxMs: 20, redialSpreadMs: 1 } };

type RawCall = Parameters<Parameters<typeof handleDuplex<Buffer, Buffer>>[1]>[0];

function dialFor(connection: string): Uint8Array {
  return tunnel.AttachResponse.encode({
    kind: {
      $case: 'dialRequest',
      value: {
        connection,
        target: { leaf: 'berlin', node: '_probe', port: 0 },
        user: '',
        timeoutMs: 1_000,
        incarnation: 7n,
        token: 0n,
        traceparent: '',
        grant: '',
      },
    },
  }).finish();
}

const honest = {
  welcome: tunnel.AttachResponse.encode({
    kind: {
      $case: 'welcome',
      value: {
        version: 1,
        proxy: 'p1',
        incarnation: 7n,
        pingIntervalMs: 5_000,
        deadAfterMs: 10_000,
        via: '',
        claimsPerProxy: 1,
        software: 'evil',
      },
    },
  }).finish(),
  dial: dialFor('c1'),
};

describe('an agent at a root proxy that sends rubbish', { timeout: 90_000 }, () => {
  let identity: TestIdentity;
  let evil: GrpcServer;
  let agent: TestAgent;
  let attached: Mailbox<RawCall>;
  let carried: Mailbox<RawCall>;

  before(async () => {
    identity = await makeIdentity('berlin', 'a1');
  });
  after(() => identity.remove());
  beforeEach(async () => {
    attached = new Mailbox();
    carried = new Mailbox();
    const { ca, cert, key } = await identity.authority.issue({ kind: 'proxy', proxy: 'p1' }, 3_600_000);
    const keep =
      (mailbox: Mailbox<RawCall>) =>
      (call: RawCall): void => {
        call.on('error', () => undefined);
        mailbox.put(call);
      };
    evil = createServer({
      tls: memoryTlsSource({ ca, cert, key: key.reveal() }),
      services: [handleDuplex(attachMethod, keep(attached)), handleDuplex(RawFrameMethods.carry, keep(carried))],
    });
    const rootPort = await evil.listen('127.0.0.1:0');
    agent = await startTestAgent({ identity, rootPort, changes: { steering: 'off' }, overrides: QUICK });
  });
  afterEach(async () => {
    await agent.agent.stop();
    await evil.close(0);
  });

  /** One attach for each message; resolves when the agent has taken it and its stream is over, or when a PING shows that it goes on. */
  async function attachWith(bytes: Uint8Array, welcome: boolean): Promise<void> {
    const call = await attached.take('an attach');
    if (welcome) call.write(Buffer.from(honest.welcome));
    call.write(Buffer.from(bytes));
    call.end();
    await soon(
      new Promise((resolve) => void call.once('cancelled', resolve).once('finish', resolve)),
      'the end of the stream',
    );
  }

  test('A7: survives every malformed message as the first and as the second of a tunnel', async (t) => {
    const heapBytes = retainedHeapBytes();
    for (const { bytes } of HOSTILE_MESSAGES) for (const welcome of [false, true]) await attachWith(bytes, welcome);
    const again = await attached.take('another attach: the agent is alive');
    again.end();
    assert.deepEqual(
      agent.log.lines.filter(({ event, level }) => event === 'internal.error' || level === 'fatal'),
      [],
    );
    const growth = retainedHeapBytes() - heapBytes;
    t.diagnostic(`${(growth / 2 ** 20).toFixed(1)} MiB more are held`);
    assert.ok(growth < 16 * 2 ** 20, `${growth} bytes`);
  });

  test('A7: survives messages that are nearly right, and bytes at random, on the control stream of one tunnel after the other', async () => {
    for (let round = 0; round < 60; round += 1) {
      const bytes = round % 3 === 0 ? randomBytes(round + 1) : mutated(Buffer.from(honest.dial));
      await attachWith(bytes, true);
    }
    (await attached.take('another attach: the agent is alive')).end();
    assert.deepEqual(
      agent.log.lines.filter(({ event }) => event === 'internal.error'),
      [],
    );
  });

  test('A7: survives dials whose connection has a name that no metadata takes', async () => {
    for (const name of ['', 'a\nb', 'a\0b', '\u{1f600}', 'a b', 'a'.repeat(129)]) await attachWith(dialFor(name), true);
    (await attached.take('another attach: the agent is alive')).end();
  });

  test('A7: survives every malformed frame on Carry, and answers the next probe', async () => {
    const call = await attached.take('an attach');
    call.resume();
    call.write(Buffer.from(honest.welcome));
    for (const { bytes } of HOSTILE_MESSAGES) {
      call.write(Buffer.from(honest.dial));
      const stream = await carried.take('the answer to a probe');
      const over = new Promise(
        (resolve) => void stream.once('cancelled', resolve).once('finish', resolve).once('end', resolve),
      );
      stream.resume();
      stream.write(bytes);
      stream.end();
      await soon(over, 'the end of the stream');
    }
    call.write(Buffer.from(honest.dial));
    (await carried.take('the answer to the last probe')).end();
    assert.deepEqual(
      agent.log.lines.filter(({ event }) => event === 'internal.error'),
      [],
    );
  });
});
