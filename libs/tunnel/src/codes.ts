/** What became of a dial; xylem.carry.v1.OutcomeCode without the wire's numbers. */
export type DialOutcome =
  | 'connected'
  /** The node's host answered and refused. */
  | 'refused'
  | 'timed-out'
  /** Policy, or the agent's own list, forbids it. */
  | 'denied'
  /** The leaf cluster is known but has no such node or port. */
  | 'no-such-node'
  | 'no-such-leaf'
  /** The leaf cluster is known but no agent of it is attached anywhere. */
  | 'leaf-offline'
  /** The request itself is malformed. */
  | 'invalid'
  | 'overloaded'
  /** The agent has no route to the node's host, or cannot find its name. */
  | 'unreachable'
  /** The tunnel was lost before the outcome was known; the node may have seen the dial, so it is not repeated. */
  | 'tunnel-lost';

/** Why a carried connection ended other than cleanly; the rows of xylem.carry.v1.Reason that concern one. */
export type ResetReason =
  /** A TCP connection at either end was reset or failed. */
  | 'peer-reset'
  | 'tunnel-lost'
  | 'drain-deadline'
  | 'data-loss'
  | 'protocol-error'
  | 'shutdown'
  | 'overloaded'
  | 'timeout'
  /** The requester gave up. */
  | 'cancelled'
  | 'denied'
  | 'stale-incarnation';
