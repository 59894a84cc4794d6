export * as access from './gen/xylem/access/v1/access.ts';
export * as carry from './gen/xylem/carry/v1/carry.ts';
export * as peer from './gen/xylem/peer/v1/peer.ts';
export * as registry from './gen/xylem/registry/v1/registry.ts';
export * as tunnel from './gen/xylem/tunnel/v1/tunnel.ts';
