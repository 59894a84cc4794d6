import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { AccessService, health, PeerService, reflection } from '@xylem/wire';
import { handleUnary } from './index.ts';
import { within } from './testing/deadline.ts';
import { connectTo, makeWorld, SERVER_NAME, startServer } from './testing/pair.ts';
import type { ServerUnderTest } from './testing/pair.ts';

const world = await makeWorld();
const run = promisify(execFile);
const buf = fileURLToPath(new URL('../../../node_modules/.bin/buf', import.meta.url));

const listNodes = handleUnary(AccessService.listNodes, async ({ leaf }) => ({
  leaves: [{ leaf, nodes: [{ name: 'web', ports: [80, 8080] }] }],
}));
const describe = handleUnary(PeerService.describe, async () => ({ status: undefined }));

async function served(t: TestContext): Promise<ServerUnderTest> {
  return startServer(t, { tls: world.serverTls, services: [listNodes, describe] });
}

/** Runs `buf curl` with the client's certificate, and with no schema but the server's. */
async function bufCurl(t: TestContext, ...args: readonly string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'xylem-grpc-'));
  t.after(() => rm(folder, { recursive: true }));
  const { ca, cert, key } = world.clientTls.current();
  await writeFile(join(folder, 'ca'), ca);
  await writeFile(join(folder, 'cert'), cert);
  await writeFile(join(folder, 'key'), key);
  const tls = ['--cacert', join(folder, 'ca'), '--cert', join(folder, 'cert'), '--key', join(folder, 'key')];
  const options = ['curl', '--protocol', 'grpc', '--servername', SERVER_NAME, ...tls, ...args];
  // HOME: buf writes a cache, and reads configuration, there.
  const { stdout } = await run(process.execPath, [buf, ...options], { cwd: folder, env: { HOME: folder } });
  return stdout;
}

for (const version of ['grpc-v1', 'grpc-v1alpha']) {
  test(`buf curl lists and calls services over mTLS through reflection ${version}`, async (t) => {
    const { address, server } = await served(t);
    server.setServing(true);
    const reflect = ['--reflect-protocol', version];
    const listed = await bufCurl(t, ...reflect, '--list-services', `https://${address}`);
    assert.deepEqual(listed.trim().split('\n').sort(), [
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
      'xylem.access.v1.AccessService',
      'xylem.channel.v1.ChannelService',
      'xylem.peer.v1.PeerService',
    ]);
    const url = `https://${address}/xylem.access.v1.AccessService/ListNodes`;
    const answer: unknown = JSON.parse(await bufCurl(t, ...reflect, '--data', '{"leaf": "berlin"}', url));
    assert.deepEqual(answer, { leaves: [{ leaf: 'berlin', nodes: [{ name: 'web', ports: [80, 8080] }] }] });
    const status: unknown = JSON.parse(
      await bufCurl(t, ...reflect, '--data', '{}', `https://${address}/grpc.health.v1.Health/Check`),
    );
    assert.deepEqual(status, { status: 'SERVING' });
  });
}

test('answers what it does not have with NOT_FOUND, and goes on answering', async (t) => {
  const { address } = await served(t);
  const channel = await connectTo(t, world, { address });
  const stream = channel.stream(reflection.ServerReflectionService.serverReflectionInfo);
  const answers = stream[Symbol.asyncIterator]();
  const ask = async (
    messageRequest: reflection.ServerReflectionRequest['messageRequest'],
  ): Promise<reflection.ServerReflectionResponse['messageResponse']> => {
    stream.send({ host: 'h', messageRequest });
    const { value } = await within(answers.next(), 'the answer');
    assert.ok(value !== undefined);
    assert.deepEqual(value.originalRequest?.messageRequest, messageRequest);
    return value.messageResponse;
  };
  const missing = await ask({ $case: 'fileContainingSymbol', value: 'no.Such' });
  assert.deepEqual(missing, {
    $case: 'errorResponse',
    value: { errorCode: 5, errorMessage: 'no symbol no.Such', _unknownFields: {} },
  });
  assert.equal((await ask(undefined))?.$case, 'errorResponse');
  assert.equal((await ask({ $case: 'fileByFilename', value: '../../etc/passwd' }))?.$case, 'errorResponse');
  const file = await ask({ $case: 'fileContainingSymbol', value: 'xylem.access.v1.AccessService.ListNodes' });
  assert.equal(file?.$case === 'fileDescriptorResponse' ? file.value.fileDescriptorProto.length : 0, 3);
  const none = await ask({ $case: 'allExtensionNumbersOfType', value: 'xylem.carry.v1.Frame' });
  assert.equal(none?.$case, 'allExtensionNumbersResponse');
  stream.end();
  assert.deepEqual(await within(stream.closed, 'the end'), { kind: 'ended' });
});

test('health says NOT_SERVING until it is told otherwise, and watchers hear of every change', async (t) => {
  const { server, address } = await served(t);
  const channel = await connectTo(t, world, { address });
  const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = health.HealthCheckResponse_ServingStatus;
  const check = async (service: string): Promise<number> =>
    (await channel.unary(health.HealthService.check, { service }, 1_000)).status;
  assert.equal(await check(''), NOT_SERVING);
  await assert.rejects(check('no.Such'), { code: 5 });
  const watch = (service: string): AsyncIterator<health.HealthCheckResponse> => {
    const stream = channel.stream(health.HealthService.watch);
    stream.send({ service });
    stream.end();
    return stream[Symbol.asyncIterator]();
  };
  const next = async (answers: AsyncIterator<health.HealthCheckResponse>): Promise<number | undefined> =>
    (await within(answers.next(), 'a status')).value?.status;
  const known = watch('xylem.access.v1.AccessService');
  const unknown = watch('no.Such');
  assert.equal(await next(known), NOT_SERVING);
  assert.equal(await next(unknown), SERVICE_UNKNOWN);
  server.setServing(true);
  assert.equal(await next(known), SERVING);
  assert.equal(await check('xylem.access.v1.AccessService'), SERVING);
  const closing = server.close(5_000);
  assert.equal(await next(known), NOT_SERVING);
  assert.equal(await next(known), undefined);
  await within(closing, 'the close, which watchers do not hold up');
});
