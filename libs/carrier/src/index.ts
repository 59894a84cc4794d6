export { carry } from './carry.ts';
export type { Carried, CarryOptions } from './carry.ts';
export { splice } from './splice.ts';
export type { Spliced, SpliceOptions } from './splice.ts';
export { FramePort, QUEUE_BYTES } from './frame-port.ts';
export type { FirstFrame, FramePortListener, FramesOver, RawFrameStream } from './frame-port.ts';
export { refuse, sendOutcome } from './outcome.ts';
export { outcomeFromWire, outcomeToWire, reasonFromWire, reasonToWire } from './codes.ts';
export { plainText } from './plain-text.ts';
