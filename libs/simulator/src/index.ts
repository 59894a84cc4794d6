export { BALANCER_POLICIES, Balancer, FAIR_POLICIES } from './balancer.ts';
export type { BalancerPolicy } from './balancer.ts';
export { World } from './world.ts';
export type { WorldOptions } from './world.ts';
export { Trace, formatTraceLine } from './trace.ts';
export { FAULT_KINDS } from './faults.ts';
export type { Fault, FaultKind } from './faults.ts';
export { simulate, worldOf } from './run.ts';
export type { Overrides, RunOptions, RunReport } from './run.ts';
export type { Violation } from './checkers.ts';
export { SITUATIONS } from './situations.ts';
export type { Situation } from './situations.ts';
export { PLANTED_BUGS, catchBug, plantedBug } from './planted.ts';
export type { Catch } from './planted.ts';
export type { PlantedBug } from './planted-tap.ts';
export { shrink } from './shrink.ts';
export type { Regression } from './shrink.ts';
export type { Contestant } from './compare.ts';
export { chanceReachesAll, coldStart } from './compare-cold-start.ts';
export type { ColdStart } from './compare-cold-start.ts';
export { ROTATION_MS, rotation } from './compare-rotation.ts';
export type { Rotation } from './compare-rotation.ts';
export { oneChanged } from './compare-changes.ts';
export type { OneChanged } from './compare-changes.ts';
export { TimelineRecorder } from './timeline-recorder.ts';
export type {
  AgentLane,
  Bar,
  DialMark,
  EntryState,
  FaultMark,
  GossipMark,
  LifeState,
  Mark,
  ProcessLane,
  StoreState,
  Stretch,
  Timeline,
} from './timeline.ts';
export { explore } from './explore/explorer.ts';
export type { Exploration, ExploreOptions, Stratum } from './explore/explorer.ts';
export { wander } from './explore/walk.ts';
export type { WalkOptions, Walked } from './explore/walk.ts';
export type { Story } from './explore/play.ts';
export { GUARDS, GUARD_NAMES } from './explore/guards.ts';
export type { Guard, GuardName } from './explore/guards.ts';
export { runScaled } from './scale/scale.ts';
export type { ScalePhase, ScaleReport } from './scale/scale.ts';
export type { ScaleOptions } from './scale/world.ts';
