/** What the demo consists of. */
export const DOMAIN = 'xylem.internal';
export const FIRST_PROXIES = ['p1', 'p2', 'p3'] as const;
export const AGENTS = [
  { leaf: 'berlin', agent: 'a1' },
  { leaf: 'berlin', agent: 'a2' },
  { leaf: 'tokyo', agent: 'a1' },
] as const;
export const LEAVES = ['berlin', 'tokyo'] as const;
export type Leaf = (typeof LEAVES)[number];

/** Who may dial what here: whoever comes from this machine, and the user of the demo. Without it everything would be denied. */
export const POLICY = `# xylem policy check you web.berlin:80 says why somebody may dial something.
admins: [you]
rules:
  - name: this-machine
    allow: [anonymous, everyone]
    leaves: ['*']
    nodes: ['*']
`;

export const HTTP_PORT = 80;
export const ECHO_PORT = 7;
export const SSH_PORT = 22;
/** In the list of node web, but nothing listens there. */
export const CLOSED_PORT = 81;

/** Preferred loopback ports; a free one is taken where another process has it. */
export const PORT = {
  registry: 7100,
  store: 7179,
  registryOps: 7109,
  balancerTunnel: 7200,
  balancerAccess: 7202,
  balancerFrontDoor: 7280,
  /** p1 has 7310 to 7314, p2 7320 to 7324, ... */
  proxyBase: 7300,
  agentOpsBase: 7390,
  nodeBase: 7400,
} as const;

/** Short, so that a drained proxy is seen to leave. */
export const DRAIN = { spreadMs: 300, deadlineMs: 20_000 } as const;
