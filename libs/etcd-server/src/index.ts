export { StoreFileError } from './file.ts';
export { startEtcdServer } from './server.ts';
export type { EtcdServer, EtcdServerOptions } from './server.ts';
