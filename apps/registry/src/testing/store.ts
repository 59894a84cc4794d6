import type { TestContext } from 'node:test';
import type { EtcdOptions } from '@xylem/etcd';
import { startEtcdServer } from '@xylem/etcd-server';
import type { StoreKind } from './world.ts';

/** A store without a registry, closed after the test. */
export async function openTestStore(t: TestContext, kind: StoreKind): Promise<Pick<EtcdOptions, 'endpoints'>> {
  const settings = await kind.open(t);
  if (settings.kind === 'etcd') return { endpoints: settings.endpoints };
  const server = await startEtcdServer({ dataDir: settings.dataDir, listen: settings.listen, name: 'test' });
  t.after(() => server.close());
  return { endpoints: [server.endpoint] };
}
