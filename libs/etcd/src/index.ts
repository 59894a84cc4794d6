export { parseEndpoints } from './endpoints.ts';
export type { Endpoint, EtcdTls } from './endpoints.ts';
export { createEtcdStore } from './etcd-store.ts';
export type { EtcdEvent, EtcdOptions, EtcdStore } from './etcd-store.ts';
export type { KeyRange } from './watch.ts';
