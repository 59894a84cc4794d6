export * from './time.ts';
export * from './codes.ts';
export * from './authority.ts';
export * from './connection/types.ts';
export { CarriedConnection } from './connection/connection.ts';
export * from './router/types.ts';
export { DialRouter } from './router/router.ts';
export * from './splice/types.ts';
export { SplicedConnection } from './splice/splice.ts';
