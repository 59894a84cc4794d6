/** Shown by --version, in AgentHello and in spans. */
export const SOFTWARE_VERSION = '0.1.0';

/** Versions of xylem.tunnel.v1 that this agent speaks, lowest and highest. */
export const PROTOCOL_VERSIONS = { min: 1, max: 1 } as const;
