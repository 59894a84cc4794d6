/**
 * `npm run bench -- statements [seconds per measurement, default 2]`: what a grant costs who signs and who verifies it, on one core. One
 * JSON line per measurement; `microseconds` is the mean of one operation.
 */
import {
  createAuthority,
  memoryTlsSource,
  StatementSigner,
  StatementVerifier,
  UserProofs,
  derOfPem,
} from '../src/index.ts';

const MEASURE_MS = Number(process.argv[2] ?? 2) * 1_000;
const DOMAIN = 'xylem.internal';
const DAY_MS = 86_400_000;

async function measure(name: string, operation: (index: number) => Promise<void> | void): Promise<void> {
  for (let index = 0; index < 50; index += 1) await operation(index);
  const started = performance.now();
  let count = 0;
  while (performance.now() - started < MEASURE_MS) {
    await operation(count);
    count += 1;
  }
  const tookMs = performance.now() - started;
  const microseconds = Math.round((tookMs * 1_000) / count);
  process.stdout.write(`${JSON.stringify({ name, count, microseconds })}\n`);
}

const authority = await createAuthority({ domain: DOMAIN });
const { ca, cert, key } = await authority.issue({ kind: 'registry', registry: 'r1' }, DAY_MS);
const source = memoryTlsSource({ ca, cert, key: key.reveal() });
const signer = new StatementSigner({ domain: DOMAIN, current: () => source.current() });
const grant = {
  user: 'alice',
  leaf: 'berlin',
  agent: 'a1',
  instance: '0123456789abcdef',
  proxy: 'p1',
  node: 'web',
  port: 80,
  policyVersion: 1,
};
const sha256 = 'a'.repeat(64);
const signed = (index: number): string => signer.grant({ ...grant, connection: `c${index}` }, 30_000);
const options = { domain: DOMAIN, trust: () => ca };
const verifier = new StatementVerifier(options);
const texts = Array.from({ length: 64 }, (_, index) => signed(index));
const membership = signer.membership({ epoch: 1n, revision: 2n, sha256 });
const alice = await authority.issue({ kind: 'user', user: 'alice' }, DAY_MS);
const proofs = new UserProofs({ ...options, intermediates: () => [], refusal: () => undefined });
const chain = derOfPem(alice.cert);

process.stdout.write(`${JSON.stringify({ name: 'grant', characters: texts[0]?.length })}\n`);
await measure('sign a grant', (index) => void signed(index));
await measure('verify a grant', async (index) => void (await verifier.grant(texts[index % texts.length] ?? '')));
await measure('verify a grant, its registry met for the first time', async () => {
  await new StatementVerifier(options).grant(texts[0] ?? '');
});
await measure('verify membership heard before', async () => void (await verifier.membership(membership)));
await measure("verify a user's certificate seen before", async () => {
  await proofs.verify({ kind: 'certificate', chain, signed: '' });
});
