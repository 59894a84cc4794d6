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
  ['the first line counted otherwise', ([a = '', ...rest]) => [a.replace('"sequence":1', '"sequence":0'), ...rest]],
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

test('tells where it stands when it is opened and closed, by which lines cut off before it went on are found', async () => {
  const heads: string[] = [];
  const onHead = ({ chain }: { readonly chain: string }): void => void heads.push(chain);
  await written(5, { onHead });
  writeFileSync(path, `${lines().slice(0, 3).join('\n')}\n`);
  await written(2, { onHead });
  assert.equal(heads.length, 4);
  const faultsWith = async (head = ''): Promise<number> => (await verifyAudit([path], head)).faults.length;
  assert.deepEqual(await Promise.all(heads.slice(1).map(faultsWith)), [1, 0, 0], 'the chain goes on without a fault');
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

test('a last line that only lacks its line feed is taken for written', async () => {
  await written(3);
  truncateSync(path, statSync(path).size - 1);
  await written(1);
  const { faults, lines: count, lost } = await verifyAudit([path]);
  assert.deepEqual([faults, count, lost], [[], 4, 0]);
});

test('a crash within the first line of a new file leaves the chain to the one before it', async () => {
  await written(1, { maxFileBytes: 1 });
  const [aside] = readdirSync(folder).filter((name) => name !== 'audit.log');
  await written(1);
  truncateSync(path, 30);
  await written(1);
  const { faults, lost } = await verifyAudit([join(folder, aside ?? ''), path]);
  assert.deepEqual([faults, lost], [[], 1]);
});

test('a crash at any byte leaves a file that goes on, with no more lost than the line it tore', async () => {
  await written(2);
  const whole = readFileSync(path);
  const first = whole.indexOf('\n') + 1;
  for (let size = first; size <= whole.length; size += 7) {
    writeFileSync(path, whole.subarray(0, size));
    await written(1);
    const { faults, lost, head } = await verifyAudit([path]);
    assert.deepEqual(faults, [], `cut at ${size}`);
    assert.ok(lost <= 1 && head.sequence >= 2, `cut at ${size}`);
  }
});

test('while it cannot write it refuses commits, keeps records within a bound, says so, and catches up', async () => {
  const alarms: (AuditError | undefined)[] = [];
  const recovered = Promise.withResolvers<void>();
  const log = await opened({
    ringLines: 3,
    retryMs: 5,
    onAlarm: (problem) => {
      alarms.push(problem);
      if (problem === undefined) recovered.resolve();
    },
  });
  await log.commit(dial('before.berlin:1'));
  const own = readFileSync(path);
  appendFileSync(path, 'somebody else\n');
  await assert.rejects(log.commit(dial('refused.berlin:1')), /changed by somebody else; give every service/);
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
  const said = lines().map(
    (line) => JSON.parse(line) as { subject: string; kind: string; details: { refused?: number } },
  );
  assert.deepEqual(
    said.slice(0, 5).map(({ subject }) => subject),
    ['before.berlin:1', path, 'kept-0.berlin:1', 'kept-1.berlin:1', 'kept-2.berlin:1'],
  );
  assert.deepEqual([said[1]?.kind, said[1]?.details.refused], ['log.recovered', 2]);
  assert.equal(alarms.length, 2);
});

test('is not well again before a line is on disk, and never takes away what somebody else wrote', async () => {
  let alarms = 0;
  const log = await opened({ retryMs: 1, onAlarm: () => (alarms += 1) });
  await log.commit(dial('before.berlin:1'));
  appendFileSync(path, 'somebody else\n');
  await assert.rejects(log.commit(dial('refused.berlin:1')), AuditError);
  // Nothing waits to be written; many more attempts than one come by.
  const until = performance.now() + 100;
  while (performance.now() < until) {
    assert.equal(log.healthy, false);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(alarms, 1);
  assert.match(readFileSync(path, 'utf8'), /somebody else\n$/);
  await log.close();
});

test('of two writers on one file neither takes away what the other has committed', async () => {
  const [a, b] = [await opened({ retryMs: 1 }), await opened({ retryMs: 1 })];
  const committed: string[] = [];
  for (let index = 0; index < 10; index += 1) {
    for (const [name, log] of [
      ['a', a],
      ['b', b],
    ] as const) {
      const subject = `${name}${index}.berlin:1`;
      await log.commit(dial(subject)).then(
        () => committed.push(subject),
        () => undefined,
      );
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
  }
  assert.equal(a.healthy && b.healthy, false, 'it is noticed');
  await Promise.all([a.close(), b.close()]);
  const text = readFileSync(path, 'utf8');
  assert.ok(committed.length > 0);
  for (const subject of committed) assert.ok(text.includes(subject), `${subject} is gone`);
});

test('a full file that cannot be moved aside grows on, with an alarm, and loses nothing', async () => {
  const alarms: (AuditError | undefined)[] = [];
  writeFileSync(`${path}.000000000001`, 'in the way');
  const log = await opened({ maxFileBytes: 1, retryMs: 1, onAlarm: (problem) => alarms.push(problem) });
  await log.commit(dial('one.berlin:1'));
  await log.commit(dial('two.berlin:1'));
  await log.close();
  assert.match(alarms[0]?.message ?? '', /000000000001 is there already; move it away/);
  assert.equal(readFileSync(`${path}.000000000001`, 'utf8'), 'in the way');
  const files = readdirSync(folder)
    .filter((name) => !name.endsWith('000000000001'))
    .toSorted();
  const { faults, lines: count } = await verifyAudit(
    [...files.slice(1), ...files.slice(0, 1)].map((name) => join(folder, name)),
  );
  assert.deepEqual([faults, count], [[], 2]);
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
