export * from './shared/ids.ts';
export * from './shared/time.ts';
export * from './shared/gossip.ts';
export * from './leaf/types.ts';
export * from './root/types.ts';
