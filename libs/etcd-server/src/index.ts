export { StoreFileError } from './file-check.ts';
export { startEtcdServer } from './server.ts';
export type { EtcdServer, EtcdServerOptions } from './server.ts';
