import { readFileSync } from 'node:fs';
import type { EtcdOptions } from '@xylem/etcd';
import { startEtcdServer } from '@xylem/etcd-server';
import type { RegistrySettings } from './config.ts';

/** How to reach the store that the configuration names. */
export interface StoreAccess {
  /** What its clients are given. */
  readonly client: Pick<EtcdOptions, 'endpoints' | 'tls'>;
  /** What a person calls it. */
  readonly name: string;
  /** Ends the embedded store, if that is the one. */
  close(): Promise<void>;
}

/** Starts the embedded store where that is configured. */
export async function openStore({ id, store }: RegistrySettings): Promise<StoreAccess> {
  if (store.kind === 'embedded') {
    const server = await startEtcdServer({ dataDir: store.dataDir, listen: store.listen, name: id });
    const { endpoint } = server;
    return { client: { endpoints: [endpoint] }, name: endpoint, close: () => server.close() };
  }
  const { endpoints, tls } = store;
  const client = tls === undefined ? { endpoints } : { endpoints, tls: readTls(tls) };
  return { client, name: endpoints.join(', '), close: () => Promise.resolve() };
}

type TlsFiles = NonNullable<Extract<RegistrySettings['store'], { readonly kind: 'etcd' }>['tls']>;

function readTls({ ca, cert, key }: TlsFiles): NonNullable<EtcdOptions['tls']> {
  const pem = (path: string): string => readFileSync(path, 'utf8');
  return {
    ca: pem(ca),
    ...(cert === undefined ? {} : { cert: pem(cert) }),
    ...(key === undefined ? {} : { key: pem(key) }),
  };
}
