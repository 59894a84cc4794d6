export { BALANCER_POLICIES, Balancer, FAIR_POLICIES } from './balancer.ts';
export type { BalancerPolicy } from './balancer.ts';
export { World } from './world.ts';
export type { WorldOptions } from './world.ts';
export { Trace, formatTraceLine } from './trace.ts';
