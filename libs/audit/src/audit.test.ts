import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { openAuditLog } from './log.ts';
import type { AuditLogOptions } from './log.ts';
import { MAX_LINE_CHARACTERS, chainLine, FIRST_HEAD, readLine } from './line.ts';
import { AuditError } from './types.ts';
import type { AuditEntry, AuditLog } from './types.ts';
import { verifyAudit } from './verify.ts';

let folder = '';
let path = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'xylem-audit-'));
  path = join(folder, 'audit.log');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const dial = (subject: string): AuditEntry => ({
  kind: 'dial.allowed',
  actor: 'user/alice',
  subject,
  outcome: 'allowed',
  details: { rule: 'databases', bytes: 7 },
});

function opened(changes: Partial<AuditLogOptions> = {}): Promise<AuditLog> {
  const onAlarm = (): void => undefined;
  return openAuditLog({ path, service: 'root-proxy', instance: 'p1', onAlarm, ...changes });
}

async function written(count: number, changes: Partial<AuditLogOptions> = {}): Promise<void> {
  const log = await opened(changes);
  for (let index = 0; index < count; index += 1) log.record(dial(`web-${index}.berlin:80`));
  await log.close();
}

const lines = (): string[] => readFileSync(path, 'utf8').trimEnd().split('\n');

test('every line continues the one before, also after a restart', async () => {
  await written(3);
  await written(2);
  const { faults, ...report } = await verifyAudit([path]);
  assert.deepEqual(faults, []);
  assert.equal(report.lines, 5);
  assert.equal(report.head.sequence, 5);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(Object.keys(JSON.parse(lines()[0] ?? '')), [
    'sequence',
    'time',
    'service',
    'instance',
    'kind',
    'actor',
    'subject',
    'outcome',
    'details',
    'chain',
  ]);
});

const TAMPERING: readonly (readonly [what: string, change: (lines: string[]) => string[]])[] = [
  ['a changed word', (all) => all.map((line, index) => (index === 2 ? line.replace('alice', 'mallo') : line))],
  ['a line taken out', (all) => all.toSpliced(2, 1)],
  ['two lines swapped', ([a = '', b = '', c = '', ...rest]) => [a, c, b, ...rest]],
  ['a line twice', ([a = '', ...rest]) => [a, a, ...rest]],
  ['a line made up', (all) => [...all, chainLine(FIRST_HEAD, 0, { service: 'x', instance: 'y' }, dial('z')).text]],
  ['the first line changed', ([a = '', ...rest]) => [a.replace('web-0', 'web-9'), ...rest]],
  ['something else in between', ([a = '', ...rest]) => [a, 'hello', ...rest]],
];
for (const [what, change] of TAMPERING) {
  test(`finds ${what}`, async () => {
    await written(5);
    writeFileSync(path, `${change(lines()).join('\n')}\n`);
    const { faults } = await verifyAudit([path]);
    assert.notEqual(faults.length, 0);
  });
}

test('finds lines cut off at the end when an earlier head is known', async () => {
  await written(5);
  const before = await verifyAudit([path]);
  writeFileSync(path, `${lines().slice(0, 3).join('\n')}\n`);
  assert.deepEqual((await verifyAudit([path])).faults, []);
  assert.equal((await verifyAudit([path], before.head.chain)).faults.length, 1);
});

test('any change of any byte is found', async () => {
  await written(4);
  const whole = readFileSync(path);
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: whole.length - 2 }), fc.integer({ min: 1, max: 255 }), async (at, by) => {
      const changed = Buffer.from(whole);
      changed[at] = ((changed[at] ?? 0) + by) % 256;
      writeFileSync(path, changed);
      const { faults } = await verifyAudit([path]);
      assert.notEqual(faults.length, 0);
    }),
    { numRuns: 300 },
  );
});

test('a line torn by a crash is ended, named, and no fault', async () => {
  await written(3);
  truncateSync(path, statSync(path).size - 20);
  const log = await opened();
  log.record(dial('db.berlin:5432'));
  await log.close();
  const report = await verifyAudit([path]);
  assert.deepEqual(report.faults, []);
  assert.equal(report.lost, 1);
  assert.equal(report.lines, 4);
});

test('goes on in a new file when one is full, also after a restart in between, and all verify in order', async () => {
  const changes = { maxFileBytes: 1 };
  await written(2, changes);
  await written(1, changes);
  await written(1);
  const names = readdirSync(folder).toSorted();
  const files = [...names.slice(1), ...names.slice(0, 1)].map((name) => join(folder, name));
  const report = await verifyAudit(files);
  assert.deepEqual([report.faults, report.lines], [[], 4]);
  assert.ok(files.length >= 3, `${files.length} files`);
  assert.equal((await verifyAudit([path])).firstSequence, 4);
});

test('while it cannot write it refuses commits, keeps records within a bound, says so, and catches up', async () => {
  const alarms: (AuditError | undefined)[] = [];
  const recovered = Promise.withResolvers<void>();
  const alarmed = Promise.withResolvers<void>();
  const log = await opened({
    ringLines: 3,
    retryMs: 5,
    onAlarm: (problem) => {
      alarms.push(problem);
      (problem === undefined ? recovered : alarmed).resolve();
    },
  });
  await log.commit(dial('before.berlin:1'));
  const own = readFileSync(path);
  appendFileSync(path, 'somebody else\n');
  await assert.rejects(log.commit(dial('refused.berlin:1')), /changed by somebody else; give every service/);
  await alarmed.promise;
  assert.equal(log.healthy, false);
  await assert.rejects(log.commit(dial('refused.berlin:2')), AuditError);
  for (let index = 0; index < 5; index += 1) log.record(dial(`kept-${index}.berlin:1`));
  truncateSync(path, own.length);
  await recovered.promise;
  assert.equal(log.healthy, true);
  await log.close();
  const report = await verifyAudit([path]);
  assert.deepEqual(report.faults, []);
  assert.equal(report.lost, 2);
  const subjects = lines().map((line) => String((JSON.parse(line) as { subject: unknown }).subject));
  assert.deepEqual(subjects.slice(0, 4), ['before.berlin:1', 'kept-0.berlin:1', 'kept-1.berlin:1', 'kept-2.berlin:1']);
  assert.equal(alarms.length, 2);
});

test('says what to do when the file cannot be opened or is something else', async () => {
  await assert.rejects(opened({ path: join(folder, 'none', 'audit.log') }), /make its folder writable/);
  writeFileSync(path, 'a diary\n');
  await assert.rejects(opened(), /is not an audit line; move it aside/);
});

test('whatever an entry holds, the line is printable ASCII, one line, bounded, and reads back', () => {
  const text = fc.string({ unit: 'binary', maxLength: 2_000 });
  fc.assert(
    fc.property(text, text, fc.dictionary(text, text, { maxKeys: 40 }), (actor, subject, details) => {
      const entry: AuditEntry = { kind: 'dial.denied', actor, subject, outcome: 'denied', details };
      const line = chainLine(FIRST_HEAD, 0, { service: 's', instance: 'i' }, entry).text;
      assert.match(line, /^[\x20-\x7e]+$/);
      assert.ok(line.length <= MAX_LINE_CHARACTERS);
      assert.equal(readLine(line).kind, 'line');
    }),
  );
});
