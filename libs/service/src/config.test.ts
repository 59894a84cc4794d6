import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import * as z from 'zod';
import { commonKeys, withCredentials } from './common.ts';
import { loadConfig } from './config.ts';
import type { ConfigOutcome } from './config.ts';
import { durationMs, listenAddress, name, parseHostPort } from './schemas.ts';

const directory = mkdtempSync(join(tmpdir(), 'xylem-config-'));
const pem = join(directory, 'any.pem');
writeFileSync(pem, 'pem');
after(() => rmSync(directory, { recursive: true }));

const schema = withCredentials(
  z.strictObject({
    ...commonKeys({ opsListen: '127.0.0.1:9101' }),
    id: name().describe('name of this root proxy'),
    registries: z.array(z.string()).min(1).describe('registry addresses'),
    tunnel: z
      .strictObject({ listen: listenAddress('0.0.0.0:7200').default('0.0.0.0:7200').describe('agents') })
      .prefault({}),
    drain: z.strictObject({ deadlineMs: durationMs().default(30_000).describe('patience') }).prefault({}),
    verbose: z.boolean().default(false).describe('more'),
    nodes: z
      .array(z.strictObject({ name: name(), ports: z.array(z.number()) }))
      .default([])
      .describe('nodes'),
  }),
);
const spec = { service: 'xylem-test', version: '1.2.3', summary: 'a test', schema };

function load(argv: string[], env: Record<string, string> = {}, file?: string): ConfigOutcome<z.output<typeof schema>> {
  const readFile = (path: string): string => {
    if (file !== undefined) return file;
    throw Object.assign(new Error(`no ${path}`), { code: 'ENOENT' });
  };
  return loadConfig(spec, { argv: file === undefined ? argv : ['--config', 'test.yaml', ...argv], env, readFile });
}

function problems(outcome: ConfigOutcome<unknown>): string[] {
  assert.equal(outcome.kind, 'invalid');
  return outcome.kind === 'invalid'
    ? outcome.problems.map(({ key, detail, source }) => `${key}|${detail}|${source}`)
    : [];
}

const TLS = `tls: { ca: ${pem}, cert: ${pem}, key: ${pem} }\n`;
const GOOD = `${TLS}id: p1\nregistries: ["127.0.0.1:7100"]\n`;

describe('configuration', () => {
  it('takes defaults, then the file, then the environment, then flags', () => {
    const outcome = load(
      ['--tunnel-listen', '0.0.0.0:3', '--verbose'],
      { XYLEM_TUNNEL_LISTEN: '0.0.0.0:2', XYLEM_DRAIN_DEADLINE_MS: '7', XYLEM_REGISTRIES: 'a:1, b:2' },
      `${GOOD}tunnel:\n  listen: 0.0.0.0:1\nlog: { level: warn }\nnodes: [{ name: web, ports: [80] }]\n`,
    );
    assert.equal(outcome.kind, 'loaded');
    if (outcome.kind !== 'loaded') return;
    assert.equal(outcome.config.tunnel.listen, '0.0.0.0:3');
    assert.equal(outcome.config.drain.deadlineMs, 7);
    assert.equal(outcome.config.log.level, 'warn');
    assert.deepEqual(outcome.config.registries, ['a:1', 'b:2']);
    assert.deepEqual(outcome.config.nodes, [{ name: 'web', ports: [80] }]);
    assert.equal(outcome.config.domain, 'xylem.internal');
    assert.equal(outcome.config.verbose, true);
    assert.equal(outcome.exitOnStdinEnd, false);
  });

  it('reads lists from repeated and comma-separated flags, and structures from YAML text', () => {
    const outcome = load(
      [
        '--registries=a:1',
        '--registries',
        'b:2,c:3',
        '--nodes',
        '[{name: web, ports: [80]}]',
        '--no-verbose',
        '--exit-on-stdin-end',
      ],
      {},
      GOOD,
    );
    assert.ok(outcome.kind === 'loaded');
    assert.deepEqual(outcome.config.registries, ['a:1', 'b:2', 'c:3']);
    assert.deepEqual(outcome.config.nodes, [{ name: 'web', ports: [80] }]);
    assert.equal(outcome.exitOnStdinEnd, true);
  });

  it('lists every problem with its key, where it came from and the remedy', () => {
    const found = problems(
      load(
        ['--tunel-listen', 'x', '--drain-deadline-ms', 'soon', 'stray', '--id', 'Bad_Name'],
        { XYLEM_TUNNEL_LISTEN: 'nowhere', XYLEM_LOG_LEVEL: 'loud', XYLEM_REGISTRYS: 'x' },
        `tls:\n  ca: ${pem}\n  cert: /nonexistent/cert.pem\nfoo: 1\nnodes:\n  - name: web\n    port: 3\n`,
      ),
    );
    assert.deepEqual(found.toSorted(), [
      '--tunel-listen|is not known; did you mean --tunnel-listen?|command line',
      'XYLEM_REGISTRYS|is not known; did you mean XYLEM_REGISTRIES?|environment',
      'drain.deadlineMs|must be a number, not "soon"|--drain-deadline-ms',
      'foo|is not known; remove it|test.yaml:4',
      'id|"Bad_Name" is not a name; use 1 to 63 of a-z 0-9 -, with no - at the ends|--id',
      'log.level|must be one of debug, info, warn, error, not "loud"|XYLEM_LOG_LEVEL',
      'nodes[0].ports|is missing|test.yaml:5',
      'nodes[0].port|is not known; remove it|test.yaml:5',
      'registries|is missing; set registries in the file, XYLEM_REGISTRIES or --registries|',
      'stray|is not expected; every value belongs to a flag|command line',
      'tls.cert|"/nonexistent/cert.pem" does not exist; check the path, which is relative to the working directory|test.yaml:3',
      'tls.key|is missing; set tls.key in the file, XYLEM_TLS_KEY or --tls-key|',
      'tunnel.listen|"nowhere" is not an address; write host:port, for example 0.0.0.0:7200|XYLEM_TUNNEL_LISTEN',
    ]);
  });

  it('wants one way to have a certificate, and names both when there is none or two', () => {
    const rest = 'id: p1\nregistries: ["127.0.0.1:7100"]\n';
    const neither = problems(load([], {}, rest));
    assert.match(
      neither.join(),
      /^identity\|is missing, and so is tls; set identity\.dir, .* or tls\.ca, tls\.cert and tls\.key\|$/,
    );
    assert.match(problems(load(['--identity-dir', 'd'], {}, GOOD)).join(), /^identity\|is given together with tls/);
    const outcome = load(['--identity-dir', 'd'], {}, rest);
    assert.deepEqual(outcome.kind === 'loaded' && outcome.config.identity, { dir: 'd' });
    assert.match(problems(load(['--identity-token-file', 't'], {}, rest)).join(), /^identity\.dir\|is missing; set/);
  });

  it('names each missing key of a missing section', () => {
    const found = problems(load([])).map((line) => line.split('|', 1).join());
    assert.deepEqual(found.toSorted(), ['id', 'identity', 'registries']);
  });

  it('reports broken YAML with its line, a scalar file, and a missing file', () => {
    assert.match(problems(load([], {}, 'a: [1\nb: }'))[0] ?? '', /^test\.yaml\|is not valid YAML: .*\|test\.yaml:2:/);
    assert.match(problems(load([], {}, 'just text')).join('\n'), /test\.yaml\|must hold keys and values/);
    assert.match(problems(load([], {}, 'id: a\nid: b')).join('\n'), /is not valid YAML: Map keys must be unique/);
    assert.match(
      problems(load(['--config', '/no/file'])).join('\n'),
      /^\/no\/file\|does not exist; check the path\|--config/m,
    );
    assert.match(
      problems(load([], {}, 'tunnel: 3')).join('\n'),
      /tunnel\|holds keys, such as tunnel\.listen\|test\.yaml:1/,
    );
  });

  it('does not call the keys of a file missing that could not be read', () => {
    const missing = '/no/file|does not exist; check the path|--config';
    assert.deepEqual(problems(load(['--config', '/no/file'])), [missing]);
    assert.deepEqual(problems(load(['--config', '/no/file', '--id=-p'])), [
      missing,
      'id|"-p" is not a name; use 1 to 63 of a-z 0-9 -, with no - at the ends|--id',
    ]);
    assert.deepEqual(problems(load(['--config'])), ['--config|needs a value: --config VALUE|command line']);
    assert.ok(problems(load([], {}, 'a: [1\nb: }')).every((line) => line.startsWith('test.yaml|is not valid YAML')));
  });

  it('says when a flag lacks its value', () => {
    assert.match(
      problems(load(['--id', '--verbose'], {}, GOOD)).join(),
      /--id\|needs a value: --id VALUE\|command line/,
    );
    assert.match(problems(load(['--id'], {}, GOOD)).join(), /--id\|needs a value/);
  });

  it('does not mind the variables that Kubernetes injects', () => {
    const env = {
      XYLEM_REGISTRY_SERVICE_HOST: '10.0.0.1',
      XYLEM_REGISTRY_PORT: 'tcp://10.0.0.1:7100',
      XYLEM_REGISTRY_PORT_7100_TCP_ADDR: 'x',
    };
    assert.equal(load([], env, GOOD).kind, 'loaded');
  });

  it('prints help from the schema, and the version', () => {
    const help = load(['--help']);
    assert.ok(help.kind === 'shown');
    assert.match(help.text, /--tunnel-listen VALUE\s+agents \(default 0\.0\.0\.0:7200\)/);
    assert.match(help.text, /--log-level debug\|info\|warn\|error/);
    assert.match(help.text, /--tls-key VALUE\s+PEM file: own private key, mode 0600\n/);
    assert.deepEqual(load(['--version']), { kind: 'shown', text: 'xylem-test 1.2.3\n' });
  });

  it('never throws, and prints neither control characters nor pasted keys', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('--id', '--nodes', '--tunnel-listen=\u001b[2J', '-x', '--'),
    );
    fc.assert(
      fc.property(fc.array(text, { maxLength: 5 }), fc.string({ unit: 'binary' }), (argv, file) => {
        const outcome = load(argv, {}, file);
        if (outcome.kind === 'invalid') assert.doesNotMatch(outcome.text.replaceAll('\n', ''), /\p{Cc}/u);
      }),
    );
    const pasted = load([
      '--registries',
      '-----BEGIN PRIVATE KEY-----',
      '--drain-deadline-ms',
      '-----BEGIN PRIVATE KEY-----\nMIG',
    ]);
    assert.ok(pasted.kind === 'invalid');
    assert.doesNotMatch(pasted.text, /MIG/);
  });

  it('merges the keys of alternatives', () => {
    const store = z.discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('etcd'), endpoints: z.array(z.string()).describe('where') }),
      z.strictObject({ kind: z.literal('embedded'), dataDir: z.string().describe('folder') }),
    ]);
    const choice = { service: 's', version: '1', summary: 's', schema: z.strictObject({ store }) };
    const outcome = loadConfig(choice, { argv: ['--store-kind', 'embedded', '--store-data-dir', '/x'], env: {} });
    assert.deepEqual(outcome, {
      kind: 'loaded',
      config: { store: { kind: 'embedded', dataDir: '/x' } },
      exitOnStdinEnd: false,
    });
    assert.match(
      problems(loadConfig(choice, { argv: ['--store-kind', 'etcd'], env: {} })).join(),
      /store\.endpoints\|is missing/,
    );
    const wrong = problems(loadConfig(choice, { argv: ['--store-kind', 'consul'], env: {} })).join();
    assert.equal(wrong, 'store.kind|must be one of etcd, embedded, not "consul"|--store-kind');
    const kindByDefault = z.discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('etcd').default('etcd'), endpoints: z.array(z.string()).describe('where') }),
      z.strictObject({ kind: z.literal('embedded'), dataDir: z.string().describe('folder') }),
    ]);
    const lenient = { ...choice, schema: z.strictObject({ store: kindByDefault }) };
    const none = problems(loadConfig(lenient, { argv: [], env: {} })).join();
    assert.equal(none, 'store|is missing; set store.kind, store.endpoints|');
  });
});

describe('host:port', () => {
  it('reads names, IPv4 and bracketed IPv6, and nothing else', () => {
    assert.deepEqual(parseHostPort('example.org:80'), { host: 'example.org', port: 80 });
    assert.deepEqual(parseHostPort('10.0.0.1:0'), { host: '10.0.0.1', port: 0 });
    assert.deepEqual(parseHostPort('[::1]:65535'), { host: '::1', port: 65_535 });
    for (const text of [
      '',
      ':80',
      'a',
      'a:',
      'a:65536',
      '::1:80',
      '[::g]:1',
      '300.1.1.1:80',
      'a b:80',
      'a:80/x',
      'u@a:80',
      'a:+1',
    ]) {
      assert.equal(parseHostPort(text), undefined, text);
    }
  });
});
