/**
 * Identity from nothing but the registry, on real processes with a real etcd: tokens, joining through a real HAProxy, renewal, rotation of
 * the root, and what happens to somebody whose renewal does not come through. Figures are printed as diagnostics.
 */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { EVENT } from '@xylem/telemetry';
import { startHaproxy } from '@xylem/testkit';
import type { HaproxyMode, HaproxyProcess } from '@xylem/testkit';
import { EchoConnection } from '../src/check/echo.ts';
import { DOMAIN, ECHO_PORT } from '../src/layout.ts';
import {
  DEADLINE_MS,
  ECHO,
  joinBerlin,
  joinedBerlin,
  renewals,
  renewUnderLoad,
  serversOf,
  undisturbed,
} from './support/berlin.ts';
import { JoinedDeployment } from './support/joined.ts';
import { EchoLoad } from './support/load.ts';
import type { JoinedProxy } from './support/joined.ts';
import type { RecordedLine } from './support/recorder.ts';

const HOUR_MS = 3_600_000;

/** How long a connection may outlive the certificates it was made with. */
const GRACE_MS = 30_000;
/** Certificates end at whole seconds, and last words take one. */
const CLOSE_TOLERANCE_MS = 3_000;
const STOP_DEADLINE_MS = 4_000;
/** Nobody listens there. */
const NOBODY = '127.0.0.1:1';

function addressOf(proxy: JoinedProxy | undefined): string {
  assert.ok(proxy !== undefined);
  return proxy.addresses.frontDoor;
}

describe('certificates of ten seconds', { timeout: 240_000, concurrency: true }, () => {
  const TTL_MS = 10_000;
  /** Of each member: three times as many in all. Past the certificate's end and the 30 s that a connection may outlive it by. */
  const RENEWALS_EACH = 10;

  test('thirty renewals under load drop no connection', { timeout: 200_000 }, async (context) => {
    const berlin = await joinedBerlin(TTL_MS);
    try {
      const {
        seconds,
        connections,
        messages,
        renewals: made,
      } = await renewUnderLoad(berlin, RENEWALS_EACH, 30 * TTL_MS);
      context.diagnostic(
        `${seconds} s, renewals: ${JSON.stringify(made)}; ${connections} connections, ${messages} messages`,
      );
      const { out } = await berlin.deployment.administer('identities', 'ls');
      assert.match(out, /^leaf\/berlin\/agent\/a1 +active +1[0-9] /m);
    } finally {
      await berlin.close();
    }
  });

  test(
    'whoever cannot renew raises an alarm, is cut off 30 s after the end, and comes back by joining again',
    { timeout: 200_000 },
    async (context) => {
      const { deployment, root, proxies, close } = await joinedBerlin(TTL_MS, { enrol: [NOBODY] });
      try {
        const { recorder } = deployment;
        const logged = (event: string, since: number): Promise<RecordedLine> =>
          recorder.until(event, () => recorder.events(event, 'berlin/a1', since)[0], TTL_MS + GRACE_MS + DEADLINE_MS);
        const load = await EchoLoad.start([addressOf(proxies[0])], ECHO, 1);
        const since = performance.now();
        const alarm = await logged(EVENT.identityAlarmRaised, since);
        assert.match(String(alarm.fields['detail']), /connection refused/);
        const expired = await logged(EVENT.identityExpired, since);
        assert.deepEqual([load.failures, recorder.events(EVENT.tunnelClosed, 'berlin/a1')], [[], []]);
        const closed = await logged(EVENT.tunnelClosed, since);
        const lateMs = closed.at - expired.at;
        assert.ok(Math.abs(lateMs - GRACE_MS) < CLOSE_TOLERANCE_MS, `closed ${lateMs.toFixed(0)} ms after the end`);
        context.diagnostic(
          `alarm ${((expired.at - alarm.at) / 1_000).toFixed(1)} s before the end, closed ${(lateMs / 1_000).toFixed(1)} s after it`,
        );
        assert.equal((await load.cut(DEADLINE_MS)).failures.length, 1);

        // A new token has to name the agent only while its certificate is alive.
        const rejoined = performance.now();
        await joinBerlin(deployment, root, await deployment.token('--leaf', 'berlin'));
        await logged(EVENT.claimGranted, rejoined);
      } finally {
        await close();
      }
    },
  );
});

describe('a copied key', { timeout: 120_000 }, () => {
  test(
    'locks its identity when it renews, cuts both holders off, and joining again heals',
    { timeout: 100_000 },
    async (context) => {
      const { deployment, root, close } = await joinedBerlin(10_000);
      try {
        const { recorder } = deployment;
        const [own, stolen] = [deployment.agentFolder('berlin', 'a1'), deployment.agentFolder('berlin', 'thief')];
        cpSync(own, stolen, { recursive: true, verbatimSymlinks: true });
        const renewed = (): true | undefined => renewals(deployment, 'berlin/a1') > 0 || undefined;
        await recorder.until('the owner renews', renewed, DEADLINE_MS);
        const started = performance.now();
        const thief = await deployment.startAgent('berlin', 'a1', root, { name: 'thief', directory: stolen });
        const refusal = (who: string): Promise<RecordedLine> => {
          const found = () => recorder.events(EVENT.identityRenewalRefused, who)[0];
          return recorder.until(`${who} is refused`, found, DEADLINE_MS);
        };
        const { at, fields } = await refusal('thief');
        assert.match(String(fields['detail']), /copied.*xylem identities unlock/);
        await thief.stop(STOP_DEADLINE_MS);
        const cut = () => recorder.events(EVENT.tunnelClosed, 'berlin/a1')[1];
        const last = await recorder.until('the owner loses both tunnels', cut, DEADLINE_MS);
        context.diagnostic(
          `the copy was refused ${(at - started).toFixed(0)} ms after it came, the owner cut after ${(last.at - started).toFixed(0)} ms`,
        );
        assert.ok(last.at - at < 5_000);
        assert.match((await deployment.administer('identities', 'ls')).out, /^leaf\/berlin\/agent\/a1 +locked /m);

        const token = await deployment.token('--leaf', 'berlin', '--name', 'a1');
        const flags = ['--token-file', '-', '--root', root, '--agent', 'a1', '--identity-dir', own];
        const locked = await deployment.xylem(['agent', 'join', ...flags], token);
        assert.deepEqual([locked.status, locked.out], [77, '']);
        await deployment.administer('identities', 'unlock', 'leaf/berlin/agent/a1');
        const healed = performance.now();
        await joinBerlin(deployment, root, token);
        const granted = () => recorder.events(EVENT.claimGranted, 'berlin/a1', healed)[0];
        await recorder.until('the owner is back', granted, DEADLINE_MS);
      } finally {
        await close();
      }
    },
  );
});

describe('replacing the root', { timeout: 240_000 }, () => {
  interface AuthorityStatus {
    readonly phase: string;
    readonly roots: readonly { readonly fingerprint: string; readonly state: string }[];
    readonly behind: readonly string[];
  }

  async function statusOf(deployment: JoinedDeployment): Promise<AuthorityStatus> {
    return JSON.parse((await deployment.administer('ca', 'status', '--json')).out) as AuthorityStatus;
  }

  /** One step, and then until everybody follows it. */
  async function step(deployment: JoinedDeployment, command: 'rotate' | 'rollback', phase: string): Promise<number> {
    const since = performance.now();
    const { out } = await deployment.administer('ca', command);
    assert.match(out, new RegExp(`^now ${phase} `));
    for (const deadline = since + DEADLINE_MS; ;) {
      const { behind } = await statusOf(deployment);
      if (behind.length === 0) return performance.now() - since;
      assert.ok(performance.now() < deadline, `${phase}: behind are ${behind.join(', ')}`);
    }
  }

  test(
    'goes through every phase, and back, under load, and drops no connection',
    { timeout: 200_000 },
    async (context) => {
      const { deployment, doors, close } = await joinedBerlin(30_000);
      try {
        const load = await EchoLoad.start(doors, ECHO, 10);
        const since = performance.now();
        const first = await statusOf(deployment);
        assert.deepEqual([first.phase, first.behind], ['steady', []]);
        const steps = [
          ['rotate', 'prepared'],
          ['rollback', 'steady'],
          ['rotate', 'prepared'],
          ['rotate', 'trusted'],
          ['rollback', 'prepared'],
          ['rotate', 'trusted'],
          ['rotate', 'signing'],
          ['rollback', 'trusted'],
          ['rotate', 'signing'],
          ['rotate', 'steady'],
        ] as const;
        for (const [command, phase] of steps) {
          const took = await step(deployment, command, phase);
          context.diagnostic(`${command} to ${phase}: everybody follows after ${took.toFixed(0)} ms`);
          assert.deepEqual(load.failures, [], phase);
        }
        const last = await statusOf(deployment);
        assert.equal(last.roots.length, 1);
        assert.notEqual(last.roots[0]?.fingerprint, first.roots[0]?.fingerprint);
        const rootsTrusted = (): number | undefined =>
          readFileSync(join(deployment.agentFolder('berlin', 'a1'), 'ca.pem'), 'utf8').match(/BEGIN CERTIFICATE/g)
            ?.length;
        const forgotten = (): true | undefined => rootsTrusted() === 1 || undefined;
        await deployment.recorder.until('the agent trusts the new root only', forgotten, DEADLINE_MS);
        const report = await load.stop();
        assert.deepEqual(report.failures, []);
        undisturbed(deployment, since);
        await deployment.startProxy('p3');
        context.diagnostic(`${report.connections} connections, ${report.messages} messages, none lost`);
      } finally {
        await close();
      }
    },
  );
});

describe('joining by token', { timeout: 120_000 }, () => {
  let deployment: JoinedDeployment;
  const proxies: JoinedProxy[] = [];
  const balancers: HaproxyProcess[] = [];

  before(async () => {
    deployment = await JoinedDeployment.create({ certificateTtlMs: HOUR_MS });
    await deployment.startRegistry();
    for (const id of ['p1', 'p2']) proxies.push(await deployment.startProxy(id));
  });
  after(async () => {
    await deployment.close();
    await Promise.all(balancers.map((balancer) => balancer.dispose()));
  });

  async function balanced(mode: HaproxyMode): Promise<string> {
    const made = await startHaproxy({ mode, domain: DOMAIN, servers: serversOf(proxies) });
    balancers.push(made);
    return made.address;
  }

  for (const [leaf, mode] of [
    ['berlin', 'roundrobin'],
    ['tokyo', 'sni'],
  ] as const) {
    test(
      `an agent joins through HAProxy in ${mode} mode, claims every root proxy and serves`,
      { timeout: 100_000 },
      async (context) => {
        const started = performance.now();
        const root = await balanced(mode);
        const token = await deployment.token('--leaf', leaf);
        const folder = deployment.agentFolder(leaf, 'a1');
        const join_ = ['agent', 'join', '--token-file', '-', '--root', root, '--agent', 'a1', '--identity-dir', folder];
        const joined = await deployment.xylem(join_, token);
        assert.deepEqual([joined.status, joined.err], [0, '']);
        assert.match(joined.out, new RegExp(`^joined ${DOMAIN} as leaf/${leaf}/agent/a1; certificate until 20`));
        assert.equal(statSync(join(folder, 'key.pem')).mode & 0o777, 0o600);

        await deployment.startAgent(leaf, 'a1', root);
        const claimed = (): true | undefined =>
          deployment.recorder.events(EVENT.claimRecorded, `${leaf}/a1`).length >= proxies.length || undefined;
        await deployment.recorder.until('every root proxy claimed', claimed, DEADLINE_MS);
        for (const { addresses } of proxies) {
          const connection = await EchoConnection.open(addresses.frontDoor, `echo.${leaf}:${ECHO_PORT}`);
          await connection.exchange();
          await connection.end();
        }
        context.diagnostic(`from the token to the last echo: ${(performance.now() - started).toFixed(0)} ms`);

        const again = await deployment.xylem([...join_.slice(0, -1), `${folder}-2`], token);
        assert.deepEqual([again.status, again.out], [77, '']);
        assert.match(again.err, /^xylem: .*token/);
      },
    );
  }

  test('no token, password or key is in what anybody prints or logs', () => {
    const shown = JSON.stringify(deployment.recorder.lines);
    for (const id of ['p1', 'p2']) {
      const token = readFileSync(join(deployment.folder, `${id}.token`), 'utf8');
      assert.ok(!shown.includes(token.split('.')[1] ?? ''), id);
    }
    assert.ok(!shown.includes('PRIVATE KEY'));
  });
});
