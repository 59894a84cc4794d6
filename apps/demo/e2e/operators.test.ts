/** What an operator sees: every gRPC port through buf curl, and services that are started with something wrong. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { EVENT } from '@xylem/telemetry';
import { startEtcd } from '@xylem/testkit';
import { stringify } from 'yaml';
import { childEnvironment } from '../src/config.ts';
import { DOMAIN } from '../src/layout.ts';
import { REPOSITORY, appMain } from '../src/paths.ts';
import { Service } from '../src/processes/service.ts';
import { RunningDemo, run } from './support/running-demo.ts';
import type { Outcome } from './support/running-demo.ts';

const DEADLINE_MS = 20_000;
const BUF = join(REPOSITORY, 'node_modules', '.bin', 'buf');

const started: Service[] = [];
let demo: RunningDemo;

before(async () => {
  demo = await RunningDemo.start();
});

after(async () => {
  await Promise.all(started.map((service) => service.stop(2_000)));
  await demo.stop();
});

describe('buf curl', () => {
  /** Every gRPC port, whose certificate opens it, and what its methods answer to a first message that says nothing. */
  const ports = () =>
    [
      {
        address: registryAddress(),
        part: 'p1',
        name: `registry.${DOMAIN}`,
        service: 'xylem.registry.v1.RegistryService',
        calls: [
          ['Session', '{"hello":{}}', /"REFUSAL_CODE_VERSION"[^]*speaks version 1/],
          ['AuthoriseDial', '{}', /invalid_argument|nothing says who dials/],
          ['GetStandingGrant', '{}', /invalid_argument/],
        ],
      },
      {
        address: registryAddress(),
        // The policy of the demo lists this user as an administrator.
        part: 'you',
        name: `registry.${DOMAIN}`,
        service: 'xylem.admin.v1.AdminService',
        calls: [
          ['PutUser', '{}', /invalid_argument[^]*no user name/],
          ['ListUsers', '{}', /^\{/],
          ['RemoveUser', '{"name":"nobody"}', /^\{/],
          ['GetPolicy', '{}', /"version": "1"[^]*this-machine/],
          ['SetPolicy', '{"yaml":"rules: 7"}', /line 1, column 8: rules: must be a list/],
          ['ListPolicies', '{}', /"setBy": "policy\.file"/],
          ['CheckPolicy', '{"user":"you","leaf":"berlin","node":"web","port":80}', /"allowed": true[^]*this-machine/],
          ['Revoke', '{}', /invalid_argument/],
          ['Unlock', '{}', /invalid_argument|^\{/],
          ['ListIdentities', '{}', /^\{/],
          // The demo's certificates are no registry's.
          ['AddToken', '{}', /unimplemented/],
          ['ListTokens', '{}', /unimplemented/],
          ['RemoveToken', '{}', /unimplemented/],
          ['GetAuthority', '{}', /unimplemented/],
          ['RotateAuthority', '{}', /unimplemented/],
        ],
      },
      {
        address: demo.proxy('p1').addresses.tunnel,
        part: 'berlin-a1',
        name: `p1.${DOMAIN}`,
        service: 'xylem.tunnel.v1.TunnelService',
        calls: [
          ['Attach', '{}', /first message must be a hello/],
          ['Carry', '{}', /no tunnel is attached on this connection/],
        ],
      },
      {
        address: demo.proxy('p1').addresses.peer,
        part: 'p2',
        name: `p1.${DOMAIN}`,
        service: 'xylem.peer.v1.PeerService',
        calls: [
          ['Describe', '{}', /"id": "p1"[^]*"answered": true/],
          ['Forward', '{}', /"OUTCOME_CODE_INVALID"/],
          ['Relay', '{}', /"reset"/],
        ],
      },
      {
        address: demo.proxy('p1').addresses.access,
        part: 'you',
        name: DOMAIN,
        service: 'xylem.access.v1.AccessService',
        calls: [
          ['ListNodes', '{"leaf":"tokyo"}', /"leaf": "tokyo"[^]*"name": "web"/],
          ['GetStatus', '{}', /"answeredBy": "p1"/],
          ['Dial', '{}', /"OUTCOME_CODE_INVALID"/],
        ],
      },
    ] as const;

  /** @param part Whose certificate is shown. */
  const buf = (
    { address, part, name }: Readonly<Record<'address' | 'part' | 'name', string>>,
    path: string,
    ...more: readonly string[]
  ): Promise<Outcome> => {
    const tls = [
      '--cacert',
      demo.fileOf(part, 'ca.pem'),
      '--cert',
      demo.fileOf(part, 'cert.pem'),
      '--key',
      demo.fileOf(part, 'key.pem'),
    ];
    return run(BUF, ['curl', '--protocol', 'grpc', ...tls, '--servername', name, ...more, `https://${address}${path}`]);
  };

  test('finds every service by reflection, and health says that it is serving', async () => {
    for (const port of ports()) {
      const { stdout, stderr } = await buf(port, '', '--list-services');
      const found = stdout
        .trim()
        .split('\n')
        .filter((service) => !service.startsWith('grpc.reflection.'));
      const here = ports().filter(({ address }) => address === port.address);
      const everywhere = ['grpc.health.v1.Health', 'xylem.channel.v1.ChannelService'];
      assert.deepEqual(found, [...everywhere, ...here.map(({ service }) => service)].toSorted(), stderr);
      for (const service of ['', port.service]) {
        const checked = await buf(port, '/grpc.health.v1.Health/Check', '-d', JSON.stringify({ service }));
        assert.deepEqual(
          JSON.parse(checked.stdout || '{}'),
          { status: 'SERVING' },
          `${port.service}: ${checked.stderr}`,
        );
      }
    }
  });

  test('calls every method of every service and gets a clear answer', async () => {
    for (const port of ports()) {
      const { stdout } = await buf(port, '', '--list-methods');
      const own = stdout
        .trim()
        .split('\n')
        .filter((method) => method.startsWith(port.service));
      assert.deepEqual(own, port.calls.map(([method]) => `${port.service}/${method}`).toSorted());
      for (const [method, body, expected] of port.calls) {
        const answer = await buf(port, `/${port.service}/${method}`, '-d', body);
        assert.match(`${answer.stdout}${answer.stderr}`, expected, `${port.service}/${method}`);
      }
    }
  });

  test("is refused where its certificate's kind has no business", async () => {
    const [registry, , , peer] = ports();
    const hello = JSON.stringify({ hello: { minVersion: 1, maxVersion: 1, proxy: 'p1', instanceNonce: 'n' } });
    for (const [{ address, name, service }, method, body] of [
      [registry, 'Session', hello],
      [peer, 'Describe', '{}'],
    ] as const) {
      const answer = await buf({ address, name, part: 'you' }, `/${service}/${method}`, '-d', body);
      assert.match(`${answer.stdout}${answer.stderr}`, /permission_denied|REFUSAL_CODE_DENIED/, service);
    }
  });
});

function registryAddress(): string {
  return String(demo.configOf('registry')['listen']);
}

/** Starts a service with the configuration of a part of the deployment, changed. */
function startChanged(app: string, part: string, changes: Readonly<Record<string, unknown>>): Service {
  const config = join(demo.directory, `changed-${started.length}.yaml`);
  writeFileSync(config, stringify({ ...demo.configOf(part), ops: { listen: '127.0.0.1:0' }, ...changes }), {
    mode: 0o600,
  });
  const name = `changed ${part}`;
  const args = [appMain(app), '--config', config, '--exit-on-stdin-end'];
  const logFile = join(demo.directory, 'changed.log');
  const service = new Service(
    { name, command: process.execPath, args, env: childEnvironment(), logFile },
    demo.recorder.take,
  );
  started.push(service);
  return service;
}

describe('mistakes', () => {
  test('a port that is taken: one line that names it, exit 1', async () => {
    const { access } = demo.proxy('p1').addresses;
    const changes = {
      id: 'p2',
      access: { listen: access },
      tunnel: { listen: '127.0.0.1:0' },
      peer: { listen: '127.0.0.1:0' },
      frontDoor: { listen: '127.0.0.1:0' },
    };
    const service = startChanged('root-proxy', 'p2', changes);
    assert.equal((await service.exited).code, 1);
    const lines = service
      .tail()
      .split('\n')
      .filter((line) => !line.includes('"level":"info"'));
    assert.equal(lines.length, 1, service.tail());
    assert.match(lines[0] ?? '', new RegExp(`access\\.listen.*${access}`));
  });

  test('a key that others can read, a certificate of somebody else: one line each, exit 2', async () => {
    const key = join(demo.directory, 'open-key.pem');
    writeFileSync(key, readFileSync(demo.fileOf('p1', 'key.pem')), { mode: 0o644 });
    const tls = {
      ca: demo.fileOf('p1', 'ca.pem'),
      cert: demo.fileOf('p1', 'cert.pem'),
      key: demo.fileOf('p1', 'key.pem'),
    };
    for (const [changes, words] of [
      [{ id: 'p9', tls }, /cert\.pem is the certificate of proxy p1, the configuration says proxy p9; correct/],
      [
        { tls: { ...tls, key } },
        /open-key\.pem: private key is accessible to other users \(mode 0644\)\. Run: chmod 600/,
      ],
    ] as const) {
      const service = startChanged('root-proxy', 'p1', changes);
      assert.equal((await service.exited).code, 2, service.tail());
      const told = service
        .tail()
        .split('\n')
        .filter((line) => !line.includes('"level":"info"'));
      assert.equal(told.length, 1, service.tail());
      assert.match(told[0] ?? '', words);
    }
  });

  test('several mistakes in a configuration: all listed with their keys, exit 2', async () => {
    const changes = {
      id: 'P 1',
      registries: [],
      access: { listen: 'nowhere' },
      drain: { deadlineMs: -1 },
      colour: 'red',
    };
    const service = startChanged('root-proxy', 'p1', changes);
    assert.equal((await service.exited).code, 2);
    for (const key of ['id', 'registries', 'access.listen', 'drain.deadlineMs', 'colour']) {
      assert.match(service.tail(), new RegExp(`\\b${key.replace('.', '\\.')}\\b`), `${key} is named`);
    }
  });

  test('etcd out of reach: one clear line, and the registry keeps trying until it is there', async () => {
    const etcd = await startEtcd();
    try {
      await etcd.kill();
      const since = performance.now();
      const store = { kind: 'etcd', endpoints: [etcd.endpoint] };
      const service = startChanged('registry', 'registry', { listen: '127.0.0.1:0', store });
      const told = (event: string) => demo.recorder.events(event, service.name, since);
      const first = () => told(EVENT.storeUnreachable)[0];
      const line = await demo.recorder.until('the registry says that etcd is away', first, DEADLINE_MS);
      assert.match(JSON.stringify(line.fields), new RegExp(etcd.address));
      await etcd.restart();
      await demo.recorder.until('it found etcd', () => told(EVENT.storeRecovered)[0], DEADLINE_MS);
      assert.equal(told(EVENT.storeUnreachable).length, 1, 'it said so once');
      assert.equal(service.exit, undefined);
    } finally {
      await etcd.dispose();
    }
  });

  test('a second agent with the same names: refused by name in the logs, the first is not disturbed', async () => {
    const since = performance.now();
    startChanged('leaf-agent', 'tokyo-a1', {});
    const refused = ({
      event,
      fields,
    }: {
      readonly event: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }) => event === EVENT.tunnelClosed && fields['cause'] === 'duplicate-id';
    const find = () => demo.recorder.lines.find((line) => line.at >= since && refused(line));
    const line = await demo.recorder.until('a root proxy refuses it', find, DEADLINE_MS);
    assert.match(String(line.fields['detail']), /agent tokyo\/a1 is attached by live instance/);
    const lost = demo.recorder.events(EVENT.claimLost, 'tokyo/a1', since);
    assert.deepEqual(lost, []);
  });
});
